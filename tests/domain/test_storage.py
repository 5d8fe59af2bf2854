"""Whether a storage claim may be enlarged."""

from dataclasses import replace

import pytest

from tasks.domain.storage import (
    Claim,
    Enlarging,
    StorageClass,
    may_enlarge,
    read_claim,
    read_storage_class,
)

GIB = 2**30
CLAIM = Claim("data", "7", "Bound", "fast", 20 * GIB, 20 * GIB, ())
FAST = StorageClass("fast", expandable=True)


def test_a_claim_and_its_class_are_read_in_bytes() -> None:
    raw = {
        "metadata": {"name": "data", "resourceVersion": "7"},
        "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "20Gi"}}},
        "status": {"phase": "Bound", "capacity": {"storage": "20Gi"}},
    }
    assert read_claim(raw) == CLAIM
    assert read_storage_class({"metadata": {"name": "fast"}, "allowVolumeExpansion": True}) == FAST
    assert not read_storage_class({"metadata": {"name": "slow"}}).expandable


@pytest.mark.parametrize(
    ("claim", "storage_class", "wanted", "verdict"),
    [
        (CLAIM, FAST, 30 * GIB, Enlarging.ALLOWED),
        (CLAIM, FAST, 20 * GIB, Enlarging.ENOUGH),
        (replace(CLAIM, requested=30 * GIB), FAST, 30 * GIB, Enlarging.UNDER_WAY),
        (CLAIM, replace(FAST, expandable=False), 30 * GIB, Enlarging.FORBIDDEN),
        (CLAIM, None, 30 * GIB, Enlarging.FORBIDDEN),
        (CLAIM, FAST, 50 * GIB, Enlarging.FORBIDDEN),
        (replace(CLAIM, phase="Pending", capacity=0), FAST, 30 * GIB, Enlarging.FORBIDDEN),
    ],
)
def test_a_claim_grows_only_where_its_class_and_our_bound_allow_it(
    claim: Claim, storage_class: StorageClass | None, wanted: int, verdict: Enlarging
) -> None:
    assert may_enlarge(claim, storage_class, wanted, most=40 * GIB).verdict is verdict
