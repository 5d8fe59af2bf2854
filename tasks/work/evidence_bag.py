"""A bag of evidence in the making: each item streamed, hashed, encrypted and put under Object Lock.

    evidence/<incident>/bag-<name>/bag/data/items/<id>/payload[.age]   as it was read, or encrypted
    evidence/<incident>/bag-<name>/bag/data/items/<id>/meta.json       makes it an item
    evidence/<incident>/bag-<name>/custody/<number>.jsonl              who did what, meanwhile
    evidence/<incident>/bag-<name>/bag/...                             the rest, when it is closed

Killed anywhere it is gone on with: what has its meta.json is sealed and stays; a payload without
one is of an attempt that ended, and stays as well, listed as that. Two at work on the same bag
meet in the custody log, where the second finds a Conflict.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby

from tasks.clients import age
from tasks.clients.age import Sealed, Source
from tasks.clients.errors import Transient
from tasks.clients.object_store import ObjectStore
from tasks.clients.object_uploads import Upload
from tasks.domain.alertmanager import clean
from tasks.domain.collection import (
    COLLECTION,
    ITEMS,
    Collected,
    Part,
    Skipped,
    meta_bytes,
    meta_path,
)
from tasks.domain.custody import Act, Action, Actor, entry_line
from tasks.domain.errors import NotProven, RunbookError
from tasks.domain.facts import RUNBOOK
from tasks.sections.systems import StoreSettings
from tasks.work.bag_state import BagPlace, read_custody, read_items
from tasks.work.evidence_pieces import TOOL, Bounded, Offered, Piece, Wanted, own_version

RESPONDER = Actor(RUNBOOK, "responder")

_READ = 1024 * 1024
_AT_A_TIME = 4
_REASON_LIMIT = 400
_QUOTED = re.compile(r"\bb['\"]")
_MOST_ATTEMPTS = 1000
_PATIENCE = 2
"""A system that did not answer so often is not asked any more: others wait to be asked."""


class OpenBag:
    """What is sealed so far, and the way to seal more. One process at a time."""

    def __init__(
        self, place: BagPlace, store: ObjectStore, settings: StoreSettings, item_bytes: int
    ) -> None:
        """Look at what is there. NotProven when its custody log is not whole."""
        if place.recipients:
            age.check_recipients(place.recipients)
        self.place = place
        self.store = store
        self.bucket = settings.evidence_bucket
        self._until = datetime.now(UTC) + timedelta(days=settings.retention_days)
        self._lock = f"{settings.lock_mode} until {self._until.isoformat()}"
        self._limit = item_bytes
        self._silent: dict[str, list[str]] = {}
        self.keys = {each.key for each in store.list(self.bucket, place.prefix)}
        found = read_items(store, self.bucket, self.keys)
        self.collected = {each.id: each for each in found}
        self.lines, self.head = read_custody(store, self.bucket, place, self.keys)
        self._told = {json.loads(line)["item_id"] for line in self.lines}
        self._record_items()

    def collect(self, wanted: Iterable[Wanted]) -> list[Skipped]:
        """Seal what each of them consists of, the most volatile first; what could not be had.

        A few that are equally volatile are read at a time; then the custody log is sealed. What is
        sealed already is not read again, and once it is written down what the bag consists of,
        nothing is added. Raises what the evidence store says: without it nothing can be preserved.
        """
        skipped: list[Skipped] = []
        if self.place.root + COLLECTION in self.keys:
            return skipped
        in_turn = sorted(wanted, key=lambda each: each.part.volatility)
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            for _, equals in groupby(in_turn, key=lambda each: each.part.volatility):
                try:
                    for found in pool.map(self._collect_one, equals):
                        skipped += found
                finally:
                    self._record_items()
        return skipped

    def has(self, wanted: str) -> bool:
        """Whether anything of this part is sealed."""
        return any(each.wanted == wanted for each in self.collected.values())

    def record(self, acts: Sequence[Act]) -> None:
        """Seal entries of the custody log. Conflict when somebody else has written there."""
        lines, head = [], self.head
        for act in acts:
            line, head = entry_line(head, act)
            lines.append(line)
        self.put(f"{self.place.prefix}custody/{self.head.entries:06d}.jsonl", b"".join(lines))
        self.lines += lines
        self.head = head

    def put(self, key: str, data: bytes) -> None:
        """Store bytes under Object Lock; the same ones are there already: nothing to do."""
        self.store.put(self.bucket, key, data, retain_until=self._until)
        self.keys.add(key)

    def act(self, event: str, item: str, action: Action) -> Act:
        """An act of ours on an item, now."""
        return Act(
            event_id=f"{self.place.incident}/{event}",
            item_id=item,
            action=action,
            at=datetime.now(UTC),
            actor=RESPONDER,
            tool=TOOL,
            version=own_version(),
            reason=self.place.purpose,
        )

    def _collect_one(self, wanted: Wanted) -> list[Skipped]:
        if self._is_silent(wanted.system):
            return [] if self.has(wanted.part.id) else [self._silenced(wanted, wanted.part)]
        found: list[Collected | Skipped] = []
        with Offered(wanted) as pieces:
            while (piece := pieces.next()) is not None:
                found.append(self._seal(wanted, piece))
        if pieces.error is not None:
            found.append(self._skip(wanted, wanted.part, pieces.error))
        skipped = [each for each in found if isinstance(each, Skipped)]
        if len(skipped) == len(found) and wanted.part.id not in {each.id for each in skipped}:
            why = f"none of its {len(found)} pieces could be had" if found else "there is none"
            skipped.append(_skipped(wanted.part, why))
        return skipped

    def _skip(self, wanted: Wanted, part: Part, error: Exception) -> Skipped:
        skipped = _skipped(part, str(error))
        if isinstance(error, Transient):
            self._silent.setdefault(wanted.system, []).append(skipped.reason)
        return skipped

    def _is_silent(self, system: str) -> bool:
        return len(self._silent.get(system, ())) >= _PATIENCE

    def _silenced(self, wanted: Wanted, part: Part) -> Skipped:
        why = self._silent[wanted.system][-1]
        return _skipped(part, f"{wanted.system} had not answered {_PATIENCE} times: {why}")

    def _seal(self, wanted: Wanted, piece: Piece) -> Collected | Skipped:
        """Read a piece into the store. What its source says is a reason, what the store says not.

        The payload is finished only after its source has ended well: half a dump is none.
        """
        known = self.collected.get(piece.part.id)
        if known is not None:
            return known
        if self._is_silent(wanted.system):
            return self._silenced(wanted, piece.part)
        path = self._free_path(piece.part.id)
        begun = datetime.now(UTC)
        with self.store.uploading(
            self.bucket, self.place.root + path, retain_until=self._until
        ) as upload:
            try:
                with piece.opened() as source:
                    reading = Bounded(source, self._limit)
                    sealed = self._stream(reading, upload)
            except (RunbookError, OSError) as error:
                if upload.error is not None:
                    raise upload.error from error
                return self._skip(wanted, piece.part, error)
            upload.finish()
        self.keys.add(self.place.root + path)
        cut = f"cut off at {self._limit} bytes" if reading.cut else ""
        collected = Collected(
            id=piece.part.id,
            title=piece.part.title,
            wanted=wanted.part.id,
            source=piece.source,
            tool=piece.tool,
            version=piece.version,
            arguments=piece.arguments,
            begun=begun,
            ended=datetime.now(UTC),
            plain_sha256=sealed.plain_sha256,
            plain_size=sealed.plain_size,
            path=path,
            sha256=sealed.sha256,
            size=sealed.size,
            encrypted=bool(self.place.recipients),
            remarks="; ".join(each for each in (piece.remarks, cut) if each),
        )
        self.put(self.place.root + meta_path(collected.id), meta_bytes(collected))
        self.collected[collected.id] = collected
        return collected

    def _stream(self, source: Source, upload: Upload) -> Sealed:
        if self.place.recipients:
            return age.encrypt(source, upload, self.place.recipients)
        digest, size = hashlib.sha256(), 0
        while data := source.read(_READ):
            digest.update(data)
            size += len(data)
            upload.write(data)
        return Sealed(digest.hexdigest(), size, digest.hexdigest(), size)

    def _record_items(self) -> None:
        """Who collected and stored what, once each, in the order in which it was done."""
        new = [each for each in list(self.collected.values()) if each.id not in self._told]
        acts = [act for each in sorted(new, key=lambda one: one.ended) for act in self._acts(each)]
        if acts:
            self.record(acts)
            self._told |= {each.id for each in new}

    def _acts(self, item: Collected) -> tuple[Act, Act]:
        how = "encrypted with age" if item.encrypted else "in clear"
        collected = replace(
            self.act(f"{item.id}/collected", item.id, Action.COLLECTED),
            at=item.ended,
            tool=item.tool,
            version=item.version,
            arguments=item.arguments,
            sha256=item.plain_sha256,
            size=item.plain_size,
            came_from=item.source,
            remarks=item.remarks,
        )
        stored = replace(
            self.act(f"{item.id}/stored", item.id, Action.STORED),
            at=item.ended,
            sha256=item.plain_sha256,
            size=item.plain_size,
            went_to=f"s3://{self.bucket}/{self.place.root}{item.path}",
            lock=self._lock,
            remarks=f"{how}, sha256 {item.sha256}",
        )
        return collected, stored

    def _free_path(self, item: str) -> str:
        """One that no earlier attempt has used: what that one stored cannot be replaced."""
        ending = ".age" if self.place.recipients else ""
        for attempt in range(1, _MOST_ATTEMPTS):
            number = f"-{attempt}" if attempt > 1 else ""
            path = f"{ITEMS}{item}/payload{number}{ending}"
            if self.place.root + path not in self.keys:
                return path
        raise NotProven(f"expected fewer than {_MOST_ATTEMPTS} attempts at {item}, found more")


def _skipped(part: Part, reason: str) -> Skipped:
    """The reason stands in clear: of an answer that it quotes, which may be a record, nothing."""
    told = _QUOTED.split(reason, maxsplit=1)[0]
    return Skipped(part.id, part.title, clean(told, _REASON_LIMIT).strip())
