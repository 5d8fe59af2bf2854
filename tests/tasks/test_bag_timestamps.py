"""Time-stamp tokens over bags of evidence: wanted, never waited for, and proven by an auditor."""

from pathlib import Path

import pytest

from tasks.clients.object_store import ObjectStore
from tasks.domain.bag_seal import NOTE, TIME_STAMP
from tasks.sections.components import EvidenceSettings
from tasks.sections.systems import StoreSettings
from tasks.work.bag_files import StoredBag
from tasks.work.bag_timestamps import stamp_bag
from tasks.work.bag_verification import BagVerdict, Proven, verify_bag
from tests.object_store_fixture import BUCKET
from tests.tasks.evidence_bags import KEYS, place, sealed, store, stored
from tests.tasks.time_stamper import TimeStamper, serving

__all__ = ["store", "stored"]

pytestmark = pytest.mark.components

AWAY = "http://127.0.0.1:1/tsr"


@pytest.fixture(scope="module")
def stamper(tmp_path_factory: pytest.TempPathFactory) -> TimeStamper:
    return TimeStamper.make(tmp_path_factory.mktemp("tsa") / "one")


@pytest.fixture
def root(store: ObjectStore, stored: StoreSettings) -> str:
    """Of a bag that is closed."""
    where = place()
    sealed(where, store, stored)
    return where.root


def authority(url: str, stamper: TimeStamper) -> EvidenceSettings:
    return EvidenceSettings(timestamp_url=url, timestamp_roots=stamper.root, timestamp_seconds=5)


def verified(store: ObjectStore, root: str, roots: Path | None) -> BagVerdict:
    return verify_bag(StoredBag(store, BUCKET, root), KEYS, roots=roots)


def test_a_closed_bag_gets_a_token_that_an_auditor_verifies(
    store: ObjectStore, stored: StoreSettings, root: str, stamper: TimeStamper
) -> None:
    with serving(stamper) as url:
        assert stamp_bag(authority(url, stamper), store, stored, root) == "stored"
    found = verified(store, root, stamper.root)
    assert (found.proven, found.stamped) == (Proven.WHOLE, True)
    assert verified(store, root, None).stamped is None
    head = store.head(BUCKET, root + TIME_STAMP)
    assert head.lock_mode


def test_an_authority_that_is_away_leaves_it_pending_until_the_next_time(
    store: ObjectStore, stored: StoreSettings, root: str, stamper: TimeStamper
) -> None:
    assert stamp_bag(authority(AWAY, stamper), store, stored, root).startswith("pending: ")
    found = verified(store, root, stamper.root)
    assert (found.proven, found.stamped) == (Proven.WHOLE, False)
    with serving(stamper) as url:
        assert stamp_bag(authority(url, stamper), store, stored, root) == "stored"
    assert stamp_bag(authority(AWAY, stamper), store, stored, root) == "stored"
    assert stamp_bag(EvidenceSettings(), store, stored, root) == "none"


def test_a_token_over_another_bag_or_of_an_authority_that_nobody_named_is_told(
    store: ObjectStore, stored: StoreSettings, root: str, stamper: TimeStamper, tmp_path: Path
) -> None:
    other = place()
    sealed(other, store, stored)
    with serving(stamper) as url:
        stamp_bag(authority(url, stamper), store, stored, other.root)
    store.put(BUCKET, root + TIME_STAMP, store.get(BUCKET, other.root + TIME_STAMP))
    assert store.get(BUCKET, root + NOTE) != store.get(BUCKET, other.root + NOTE)
    (problem,) = verified(store, root, stamper.root).problems
    assert problem.startswith(f"{TIME_STAMP}: the time-stamp token does not verify")
    stranger = TimeStamper.make(tmp_path / "stranger")
    assert verified(store, other.root, stranger.root).proven is Proven.BROKEN


def test_an_authority_without_roots_is_refused_in_the_settings() -> None:
    with pytest.raises(ValueError, match="timestamp_roots"):
        EvidenceSettings(timestamp_url=AWAY)
