"""One damage from another: what two diagnoses say is wrong."""

from typing import Any

import pytest

from tasks.domain.damage import damage_digest
from tasks.domain.ledger.verdicts import Code


def found(code: Code = Code.MODIFIED, seq: int | None = 5, count: int = 1) -> dict[str, Any]:
    return {"code": code.value, "source": "table", "seq": seq, "count": count}


def diagnosis(*findings: dict[str, Any], altered: int = 1, **more: Any) -> dict[str, Any]:
    said = {"verdict": "tampered", "altered": altered, "missing": 0, "findings": list(findings)}
    return said | {"records": 100, "seconds": 1.5} | more


def test_the_same_damage_looked_at_later_is_the_same() -> None:
    first = diagnosis(found(), found(Code.UNSIGNED_TAIL, 100, 3))
    later = diagnosis(
        found(Code.UNSIGNED_TAIL, 100, 40), found(), records=140, seconds=9.0, checkpoint={}
    )
    assert damage_digest(first) == damage_digest(later)


@pytest.mark.parametrize(
    "other",
    [
        diagnosis(found(), found(seq=6)),
        diagnosis(found(seq=6)),
        diagnosis(found(count=2)),
        diagnosis(found(Code.DELETED)),
        diagnosis(found(seq=None)),
        diagnosis(found(), altered=2),  # more than the findings that are named
        {},
    ],
)
def test_other_damage_is_another(other: dict[str, Any]) -> None:
    assert damage_digest(diagnosis(found())) != damage_digest(other)


@pytest.mark.parametrize("odd", [{"findings": 7}, {"findings": [None, 3]}, {"altered": [1]}])
def test_a_diagnosis_that_cannot_be_read_has_one_all_the_same(odd: dict[str, Any]) -> None:
    assert len(damage_digest(odd)) == 64
