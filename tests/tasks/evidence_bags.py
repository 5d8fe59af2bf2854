"""Bags of evidence in a real store, made of parts of our own."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

import pyrage
import pytest

from tasks.clients.errors import Denied
from tasks.clients.object_store import ObjectStore
from tasks.domain.collection import Part, Volatility
from tasks.domain.ledger import NoteSigner
from tasks.sections.systems import StoreSettings
from tasks.work.bag_closing import ClosedBag, close_bag, closed_bag
from tasks.work.bag_files import StoredBag
from tasks.work.bag_state import BagPlace
from tasks.work.evidence_bag import OpenBag
from tasks.work.evidence_pieces import Wanted, as_bytes, single
from tests.object_store_fixture import BUCKET

SIGNER = NoteSigner.from_seed("responder.lab", b"r" * 32)
KEYS = [SIGNER.verifier]
OWNER = pyrage.x25519.Identity.generate()
AT = datetime(2026, 11, 22, 3, 12, tzinfo=UTC)
LIMIT = 100 * 1024 * 1024
MEBIBYTE = 1024 * 1024


def part(name: str, volatility: Volatility = Volatility.RECORDS) -> Part:
    return Part(name, f"The {name}", volatility)


def having(name: str, data: bytes, volatility: Volatility = Volatility.RECORDS) -> Wanted:
    opened = partial(as_bytes, lambda: data)
    return single(part(name, volatility), name, f"where {name} is", opened)


def failing(name: str, error: Exception, system: str = "") -> Wanted:
    def read() -> bytes:
        raise error

    return single(part(name), system or name, "somewhere", partial(as_bytes, read))


USUAL = [
    having("logs", b"line\n" * 10),
    having("sessions", b"one, two", Volatility.CONNECTIONS),
    failing("hba", Denied("permission denied for pg_hba_file_rules")),
]


@pytest.fixture(scope="session")
def stored(store_settings: StoreSettings) -> StoreSettings:
    return store_settings.model_copy(update={"evidence_bucket": BUCKET, "retention_days": 1})


@pytest.fixture(scope="session")
def store(stored: StoreSettings) -> Iterator[ObjectStore]:
    made = ObjectStore(stored)
    yield made
    made.close()


def place(*, encrypted: bool = False) -> BagPlace:
    recipients = (str(OWNER.to_public()),) if encrypted else ()
    return BagPlace(f"INC-{uuid4().hex[:12]}", "7", "suspected breach", recipients)


def sealed(
    where: BagPlace, store: ObjectStore, stored: StoreSettings, wanted: Sequence[Wanted] = USUAL
) -> ClosedBag:
    """As `preserving` does it, with parts of our own."""
    found = closed_bag(where, store, BUCKET, SIGNER.verifier)
    if found is not None:
        return found
    bag = OpenBag(where, store, stored, LIMIT)
    skipped = bag.collect(wanted)
    parts = tuple(each.part for each in wanted)
    return close_bag(bag, parts, tuple(skipped), AT, AT, SIGNER)


@pytest.fixture(scope="session")
def copied(store: ObjectStore, stored: StoreSettings) -> dict[str, bytes]:
    """The files of a bag that is whole."""
    where = place(encrypted=True)
    sealed(where, store, stored)
    bag = StoredBag(store, BUCKET, where.root)
    return {name: b"".join(bag.pieces(name)) for name in bag.names()}
