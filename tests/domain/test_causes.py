"""Causes: ranked by how sure they are, JSON all through."""

import json

import pytest

from tasks.domain.causes import Cause, Confidence, Remedial, ranked
from tasks.domain.errors import BadInput

REMEDY = Remedial("db.resolution.terminate", "end it", "database/x", "its work", {"pid": 7})


def cause(code: str, confidence: Confidence = Confidence.LIKELY, **more: object) -> Cause:
    return Cause(code, "database", confidence, f"{code} it is", **more)  # type: ignore[arg-type]  # its fields


def test_the_surest_comes_first_and_equals_by_code() -> None:
    found = ranked(
        [
            cause("c", Confidence.POSSIBLE),
            cause("b"),
            cause("z", Confidence.PROVEN),
            cause("a"),
        ]
    )
    assert [each.code for each in found] == ["z", "a", "b", "c"]


def test_causes_of_one_code_keep_their_order() -> None:
    first, second = cause("a", evidence={"n": 1}), cause("a", evidence={"n": 2})
    assert ranked([first, second]) == (first, second)


def test_a_cause_goes_into_the_journal_and_says_everything() -> None:
    said = json.loads(json.dumps(cause("a", evidence={"n": 1}, remedy=REMEDY).as_json()))
    assert said["evidence"] == {"n": 1}
    assert said["remedy"]["arguments"] == {"pid": 7}
    assert cause("a").as_json()["remedy"] is None


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object()])
def test_what_is_no_json_never_becomes_evidence_or_an_argument(value: object) -> None:
    with pytest.raises(BadInput, match="evidence of a cause as JSON"):
        cause("a", evidence={"n": value})
    with pytest.raises(BadInput, match="arguments of a remedy as JSON"):
        Remedial("s", "a", "t", "d", {"n": value})
