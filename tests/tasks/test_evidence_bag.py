"""A bag of evidence in a real store: sealed once, completed after a kill, and every byte counts."""

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from tasks.clients import age
from tasks.clients.age import Source
from tasks.clients.errors import Conflict, Denied, NotFound, Transient
from tasks.clients.object_store import ObjectStore, StoredObject
from tasks.clients.object_uploads import Upload
from tasks.domain.bag_seal import NOTE
from tasks.domain.collection import COLLECTION, CUSTODY, Part, Volatility
from tasks.domain.custody import CustodyHead
from tasks.domain.errors import NotProven
from tasks.domain.ledger import NoteSigner
from tasks.sections.systems import StoreSettings
from tasks.work.bag_closing import close_bag, closed_bag
from tasks.work.bag_files import DirectoryBag, StoredBag
from tasks.work.bag_state import BagPlace
from tasks.work.bag_verification import BagVerdict, Proven, verify_bag
from tasks.work.evidence_bag import OpenBag
from tasks.work.evidence_pieces import Piece, Wanted, as_bytes, as_stream, single
from tests.object_store_fixture import BUCKET
from tests.tasks.evidence_bags import (
    AT,
    KEYS,
    LIMIT,
    MEBIBYTE,
    OWNER,
    SIGNER,
    USUAL,
    copied,
    failing,
    having,
    part,
    place,
    sealed,
    store,
    stored,
)

__all__ = ["copied", "store", "stored"]

pytestmark = pytest.mark.components


class Killed(BaseException):
    """What a `kill -9` is to those who catch errors."""


class DyingStore(ObjectStore):
    """Dies before, or right after, its n-th write."""

    def __init__(self, configured: StoreSettings, writes: int, *, done: bool) -> None:
        super().__init__(configured)
        self.left = writes
        self.done = done

    def put(
        self, bucket: str, key: str, data: bytes, *, retain_until: datetime | None = None
    ) -> None:
        self._count(partial(super().put, bucket, key, data, retain_until=retain_until))

    @contextmanager
    def uploading(
        self, bucket: str, key: str, *, retain_until: datetime | None = None
    ) -> Iterator[Upload]:
        with super().uploading(bucket, key, retain_until=retain_until) as upload:
            yield upload
            self._count(lambda: None)

    def _count(self, write: Callable[[], None]) -> None:
        self.left -= 1
        if self.left < 0 and not self.done:
            raise Killed
        write()
        if self.left < 0:
            raise Killed


class Copied:
    """A bag in memory, to be damaged."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)

    def names(self) -> list[str]:
        return sorted(self.files)

    def pieces(self, name: str) -> Iterator[bytes]:
        if name not in self.files:
            raise NotFound(f"no {name}")
        return iter([self.files[name]])


def verified(where: BagPlace, store: ObjectStore) -> BagVerdict:
    return verify_bag(StoredBag(store, BUCKET, where.root), KEYS)


def test_a_bag_is_whole_locked_and_in_the_order_of_volatility(
    store: ObjectStore, stored: StoreSettings
) -> None:
    where = place()
    closed = sealed(where, store, stored)
    verdict = verified(where, store)
    assert (verdict.proven, verdict.problems) == (Proven.WHOLE, [])
    assert [each.id for each in verdict.collected] == ["sessions", "logs"]
    assert [each.id for each in verdict.skipped] == ["hba"]
    assert verdict.signer == "responder.lab"
    assert verdict.entries == closed.seal.custody.entries == 6
    assert not closed.encrypted
    assert all(store.head(BUCKET, key.key).lock_mode for key in store.list(BUCKET, where.prefix))
    told = {each.name: each.sha256 for each in closed.items}
    assert told["items/sessions/payload"] == hashlib.sha256(b"one, two").hexdigest()
    assert sealed(where, store, stored) == closed


def test_an_encrypted_item_is_for_its_recipient_and_its_plain_hash_in_custody(
    copied: dict[str, bytes],
) -> None:
    plain = io.BytesIO()
    age.decrypt(io.BytesIO(copied["data/items/logs/payload.age"]), plain, str(OWNER))
    assert plain.getvalue() == b"line\n" * 10
    entries = [json.loads(line) for line in copied[CUSTODY].splitlines()]
    digest = hashlib.sha256(plain.getvalue()).hexdigest()
    said = [(each["action"], each["sha256"]) for each in entries if each["item_id"] == "logs"]
    assert said == [("collected", digest), ("stored", digest)]
    assert str(OWNER.to_public()) in copied["bag-info.txt"].decode()
    assert not [data for name, data in copied.items() if b"one, two" in data]


@settings(max_examples=150)
@given(some.data())
def test_one_changed_byte_is_found_and_its_file_is_named(
    copied: dict[str, bytes], data: some.DataObject
) -> None:
    name = data.draw(some.sampled_from(sorted(copied)))
    old = copied[name]
    at = data.draw(some.integers(0, len(old) - 1))
    new = data.draw(some.integers(0, 255).filter(lambda value: value != old[at]))
    changed = {**copied, name: old[:at] + bytes([new]) + old[at + 1 :]}
    verdict = verify_bag(Copied(changed), KEYS)
    assert verdict.proven is Proven.BROKEN
    assert any(problem.startswith(f"{name}: ") for problem in verdict.problems), verdict.problems


def test_a_missing_file_an_added_one_and_a_cut_log_are_named(copied: dict[str, bytes]) -> None:
    for name in copied:
        rest = {other: data for other, data in copied.items() if other != name}
        problems = verify_bag(Copied(rest), KEYS).problems
        assert any(problem.startswith(f"{name}: ") for problem in problems), (name, problems)
    more = {**copied, "data/items/planted/payload": b"x", "planted.txt": b"x"}
    problems = verify_bag(Copied(more), KEYS).problems
    assert problems == [
        "data/items/planted/payload: is in no manifest",
        "planted.txt: is in no manifest",
    ]


def test_whoever_makes_a_bag_anew_needs_the_key(
    copied: dict[str, bytes], store: ObjectStore, stored: StoreSettings
) -> None:
    stranger = NoteSigner.from_seed("responder.lab", b"x" * 32)
    where = place()
    bag = OpenBag(where, store, stored, LIMIT)
    skipped = tuple(bag.collect(USUAL))
    close_bag(bag, tuple(each.part for each in USUAL), skipped, AT, AT, stranger)
    assert verified(where, store).proven is Proven.BROKEN
    assert [each.partition(":")[0] for each in verified(where, store).problems] == [NOTE]
    own = verify_bag(StoredBag(store, BUCKET, where.root))
    assert (own.proven, own.signer) == (Proven.OWN_KEY, "")
    assert verify_bag(Copied(copied)).proven is Proven.OWN_KEY


def test_a_head_that_was_kept_elsewhere_must_be_in_the_log(copied: dict[str, bytes]) -> None:
    lines = copied[CUSTODY].splitlines()
    third = CustodyHead(3, json.loads(lines[2])["entry_hash"])
    assert verify_bag(Copied(copied), KEYS, [third]).proven is Proven.WHOLE
    problems = verify_bag(Copied(copied), KEYS, [CustodyHead(3, "0" * 64)]).problems
    assert [each.partition(":")[0] for each in problems] == [CUSTODY]
    assert verify_bag(Copied(copied), KEYS, [CustodyHead(99, "0" * 64)]).proven is Proven.BROKEN


def is_completed(store: ObjectStore, dying: DyingStore, stored: StoreSettings) -> bool:
    """Let it die and complete it; False when it came to its end before."""
    where = place()
    try:
        sealed(where, dying, stored)
    except Killed:
        pass
    else:
        return False
    before = {each.key: store.head(BUCKET, each.key).version_id for each in _all(where, store)}
    sealed(where, store, stored)
    after = {each.key: store.head(BUCKET, each.key).version_id for each in _all(where, store)}
    assert before.items() <= after.items()
    verdict = verified(where, store)
    assert (verdict.proven, verdict.problems) == (Proven.WHOLE, [])
    assert {each.id for each in verdict.collected} == {"logs", "sessions"}
    return True


@pytest.mark.parametrize("writes", [1, 8])
def test_killed_before_an_item_is_described_or_the_bag_is_closed_it_is_completed(
    store: ObjectStore, stored: StoreSettings, writes: int
) -> None:
    assert is_completed(store, DyingStore(stored, writes, done=False), stored)


def test_once_it_is_written_down_what_a_bag_consists_of_nothing_is_added(
    store: ObjectStore, stored: StoreSettings
) -> None:
    where, writes = place(), 0
    while COLLECTION not in {each.key.removeprefix(where.root) for each in _all(where, store)}:
        with suppress(Killed):
            sealed(where, DyingStore(stored, writes, done=True), stored)
        writes += 1
    well = [*USUAL[:2], having("hba", b"now it can be read")]
    sealed(where, store, stored, well)
    verdict = verified(where, store)
    assert (verdict.proven, verdict.problems) == (Proven.WHOLE, [])
    assert [each.id for each in verdict.skipped] == ["hba"]


@pytest.mark.slow
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_killed_at_any_write_it_is_completed_and_nothing_is_lost(
    store: ObjectStore, stored: StoreSettings, *, done: bool
) -> None:
    writes = 0
    while is_completed(store, DyingStore(stored, writes, done=done), stored):
        writes += 1
    assert writes >= 4 + 3 + 7  # payloads and descriptions, custody, what closes the bag


def _all(where: BagPlace, store: ObjectStore) -> list[StoredObject]:
    return store.list(BUCKET, where.prefix)


def test_a_payload_of_an_ended_attempt_stays_and_is_listed(
    store: ObjectStore, stored: StoreSettings
) -> None:
    where = place()
    left = f"{where.root}data/items/logs/payload"
    store.put(BUCKET, left, b"half of it", retain_until=datetime(2099, 1, 1, tzinfo=UTC))
    sealed(where, store, stored)
    verdict = verified(where, store)
    assert (verdict.proven, verdict.problems) == (Proven.WHOLE, [])
    assert "data/items/logs/payload-2" in {each.path for each in verdict.collected}
    custody = store.get(BUCKET, where.root + CUSTODY)
    assert b"an attempt that ended" in custody
    assert hashlib.sha256(b"half of it").hexdigest().encode() in custody


def test_two_at_work_on_one_bag_meet_in_the_custody_log(
    store: ObjectStore, stored: StoreSettings
) -> None:
    where = place()
    first, second = (OpenBag(where, store, stored, LIMIT) for _ in range(2))
    first.collect([having("logs", b"first")])
    with pytest.raises(Conflict):
        second.collect([having("sessions", b"second")])


def test_a_source_that_ends_badly_is_skipped_and_leaves_no_half(
    store: ObjectStore, stored: StoreSettings
) -> None:
    def dump() -> Iterator[bytes]:
        for _ in range(40):
            yield bytes(MEBIBYTE)
        raise Transient("pg_dump: the server went away")

    where = place()
    bag = OpenBag(where, store, stored, LIMIT)
    wanted = single(part("dump"), "PostgreSQL", "db", partial(as_stream, dump))
    (skipped,) = bag.collect([wanted])
    assert (skipped.id, skipped.reason) == ("dump", "pg_dump: the server went away")
    assert store.list(BUCKET, where.prefix) == []


def test_a_source_that_complains_only_at_its_end_is_skipped_too(
    store: ObjectStore, stored: StoreSettings
) -> None:
    @contextmanager
    def opened() -> Iterator[Source]:
        yield io.BytesIO(b"looks whole")
        raise Denied("pg_dump ended with status 1")

    bag = OpenBag(place(), store, stored, LIMIT)
    (skipped,) = bag.collect([single(part("dump"), "PostgreSQL", "db", opened)])
    assert "status 1" in skipped.reason
    assert bag.collected == {}


def test_a_store_that_is_away_is_no_reason_to_skip(
    stored: StoreSettings, store: ObjectStore
) -> None:
    bag = OpenBag(place(), store, stored, LIMIT)
    bag.store = ObjectStore(stored.model_copy(update={"endpoint_url": "http://127.0.0.1:9"}))
    with pytest.raises(Transient):
        bag.collect([having("logs", b"x")])


def test_a_silent_system_is_asked_twice_and_others_once_more(
    store: ObjectStore, stored: StoreSettings
) -> None:
    asked: list[str] = []

    def silent(name: str) -> Wanted:
        def read() -> bytes:
            asked.append(name)
            raise Transient("no answer")

        piece = Piece(part(name), "api", partial(as_bytes, read))
        level = list(Volatility)[len(asked_names)]
        asked_names.append(name)
        return Wanted(Part(name, name, level), "the API", lambda: [piece])

    asked_names: list[str] = []
    bag = OpenBag(place(), store, stored, LIMIT)
    skipped = bag.collect([*(silent(f"a{number}") for number in range(4)), having("logs", b"x")])
    assert asked == ["a0", "a1"]
    assert {each.id for each in skipped} == {"a0", "a1", "a2", "a3"}
    assert "had not answered 2 times: no answer" in skipped[-1].reason
    assert set(bag.collected) == {"logs"}


def test_a_reason_quotes_nothing_that_may_be_a_record(
    store: ObjectStore, stored: StoreSettings
) -> None:
    error = Transient("expected JSON of http://api, found b'quill@annotators.invalid'")
    bag = OpenBag(place(), store, stored, LIMIT)
    (skipped,) = bag.collect([failing("api", error)])
    assert skipped.reason == "expected JSON of http://api, found"


def test_what_is_too_large_is_cut_off_and_says_so(
    store: ObjectStore, stored: StoreSettings
) -> None:
    bag = OpenBag(place(), store, stored, 10)
    assert bag.collect([having("logs", b"0123456789"), having("more", b"0123456789x")]) == []
    assert {each.id: (each.plain_size, each.remarks) for each in bag.collected.values()} == {
        "logs": (10, ""),
        "more": (10, "cut off at 10 bytes"),
    }


def test_a_large_item_goes_up_in_parts_and_comes_back_whole(
    store: ObjectStore, stored: StoreSettings
) -> None:
    def many() -> Iterator[bytes]:
        for number in range(35):
            yield bytes([number]) * MEBIBYTE

    where = place(encrypted=True)
    bag = OpenBag(where, store, stored, LIMIT)
    wanted = single(part("dump"), "db", "db", partial(as_stream, many))
    assert bag.collect([wanted]) == []
    closed = close_bag(bag, (wanted.part,), (), AT, AT, SIGNER)
    item = bag.collected["dump"]
    assert item.plain_size == 35 * MEBIBYTE
    plain = io.BytesIO()
    age.decrypt(io.BytesIO(store.get(BUCKET, where.root + item.path)), plain, str(OWNER))
    assert hashlib.sha256(plain.getvalue()).hexdigest() == item.plain_sha256
    assert verified(where, store).proven is Proven.WHOLE
    assert closed.items[0].sha256 == item.sha256


def test_a_custody_log_that_somebody_wrote_into_is_not_gone_on_with(
    store: ObjectStore, stored: StoreSettings
) -> None:
    where = place()
    OpenBag(where, store, stored, LIMIT).collect([having("logs", b"x")])
    store.put(BUCKET, f"{where.prefix}custody/000001.jsonl", b'{"seq":1}\n')
    with pytest.raises(NotProven, match="custody"):
        OpenBag(where, store, stored, LIMIT)


def test_a_bag_in_an_unlocked_bucket_is_none(store: ObjectStore, stored: StoreSettings) -> None:
    where = place()
    bag = OpenBag(where, store, stored, LIMIT)
    bag.collect([having("logs", b"x")])
    key = where.root + COLLECTION
    other = place()
    closed = sealed(other, store, stored)
    assert closed.items
    store.put(BUCKET, key, store.get(BUCKET, other.root + COLLECTION))
    store.put(BUCKET, where.root + NOTE, store.get(BUCKET, other.root + NOTE))
    with pytest.raises((NotProven, NotFound)):
        closed_bag(where, store, BUCKET, SIGNER.verifier)


def test_a_link_in_a_copied_bag_is_not_followed(copied: dict[str, bytes], tmp_path: Path) -> None:
    for name, data in copied.items():
        file = tmp_path / "bag" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    bag = DirectoryBag(tmp_path / "bag")
    assert verify_bag(bag, KEYS).proven is Proven.WHOLE
    moved = (tmp_path / "bag/data").rename(tmp_path / "elsewhere")
    (tmp_path / "bag/data").symlink_to(moved)
    assert verify_bag(bag, KEYS).proven is Proven.BROKEN


def opened_of(wanted: Wanted) -> AbstractContextManager[Source]:
    (piece,) = wanted.pieces()
    return piece.opened()


@given(some.lists(some.binary(max_size=50)), some.integers(1, 20))
def test_a_stream_of_pieces_reads_as_their_sum(pieces: list[bytes], size: int) -> None:
    wanted = single(part("x"), "x", "x", partial(as_stream, lambda: iter(pieces)))
    with opened_of(wanted) as stream:
        found = b"".join(iter(lambda: stream.read(size), b""))
    assert found == b"".join(pieces)


def test_a_bag_that_somebody_else_has_signed_is_not_taken_for_ours(
    store: ObjectStore, stored: StoreSettings
) -> None:
    where = place()
    sealed(where, store, stored)
    stranger = NoteSigner.from_seed("responder.lab", b"x" * 32)
    with pytest.raises(NotProven, match="tell security"):
        closed_bag(where, store, BUCKET, stranger.verifier)
    assert closed_bag(where, store, BUCKET, SIGNER.verifier) is not None
