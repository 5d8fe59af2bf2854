"""Putting back what proves a sealed log: by the sealer, which alone may write there.

Nothing is signed anew: a tile, a segment or a checkpoint is put back only as the signed head proves
it. What was damaged stays: as the version behind the new one, or, in a place that keeps none, where
it is, and the right one lies beside it.

    rebuilt/<time>-<order>/intent-<sha>.json     what will be put back, before anything is
    rebuilt/<time>-<order>/<path>                right copies that could not take their place
    rebuilt/<time>-<order>/statement-<sha>.json  what was done, and how both trees belong together
    rebuilt/<time>-<order>/{intent,statement}.note   the sealer's signatures, each written last

A killed rebuild leaves its intent, which says how the log was found; the same order again goes on
from there and ends with one statement about both.
"""

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from tasks.clients.errors import Conflict, Malformed, NotFound
from tasks.domain.errors import BadInput, NotProven
from tasks.domain.ledger import sign_note
from tasks.domain.ledger.notes import MAX_NOTE_BYTES
from tasks.domain.ledger.segments import MAX_STORED_BYTES
from tasks.domain.log_rebuild import Damaged, Left, Mode, Ordered, Survey, Why, order_digest
from tasks.domain.rebuild_intent import Intent
from tasks.domain.rebuild_statement import PutBack, signed_text, statement
from tasks.work import audit_table
from tasks.work.log_survey import Restorer, stored_tree, survey
from tasks.work.log_versions import LogVersions
from tasks.work.rebuild_notes import (
    REBUILT,
    Earlier,
    document_path,
    earlier_rebuilds,
    read_signed,
)
from tasks.work.rebuilding import table_source
from tasks.work.sealing import Sealer, wait_for_others

MAX_NOTES = 4

_INCIDENT = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for. `objects`: paths and runs of them; `notes`: heads that others kept.

    `mode`: as the approved plan says; in another one nothing is put back.
    """

    incident: str
    objects: tuple[str, ...]
    mode: Mode
    notes: tuple[str, ...] = ()

    @classmethod
    def read(cls, value: object) -> "Order":
        """From the JSON of a request; BadInput for anything else."""
        fields = value if isinstance(value, dict) else {}
        incident, objects, notes = (fields.get(name) for name in ("incident", "objects", "notes"))
        if not isinstance(incident, str) or not _INCIDENT.fullmatch(incident):
            raise BadInput("expected the incident's id, found none")
        for name, each in (("objects", objects), ("notes", notes)):
            if not isinstance(each, list) or not all(isinstance(one, str) for one in each):
                raise BadInput(f"expected {name} as a list of texts")
        mode = fields.get("mode")
        if not isinstance(mode, str) or mode not in set(Mode):
            raise BadInput(f"expected mode as one of {', '.join(Mode)}, found another")
        order = cls(incident, tuple(objects or ()), Mode(mode), tuple(notes or ()))
        Ordered(order.objects)
        if len(order.notes) > MAX_NOTES or any(len(one) > MAX_NOTE_BYTES for one in order.notes):
            raise BadInput(f"expected at most {MAX_NOTES} signed notes")
        return order


@dataclass(frozen=True, slots=True)
class Done:
    """What a rebuild has done. `statement`: its path in the log, empty when nothing was to do."""

    survey: Survey
    put_back: tuple[PutBack, ...]
    left: tuple[Left, ...]
    statement: str = ""
    sha256: str = ""
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """What the service answers."""
        return {
            "origin": self.survey.head.origin,
            "size": self.survey.head.size,
            "root": self.survey.head.root.hex(),
            "put_back": len(self.put_back),
            "left": len(self.left),
            "lost": sum(end - first for first, end in self.survey.lost),
            "statement": self.statement,
            "sha256": self.sha256,
            "note": self.note,
        }


def rebuild(dsn: str, sealer: Sealer, versions: LogVersions, order: Order) -> Done:
    """Survey, and put back those of the ordered objects that are damaged. One at a time.

    `dsn`: the sealer's own login to the table. What else is damaged is said and left for another
    order. NotProven, and nothing is written, when the signed root is not reproduced by anything.
    Conflict when somebody else writes the same objects meanwhile.
    """
    with audit_table.reading(dsn) as connection:
        wait_for_others(connection)
        look = survey(
            sealer.log, sealer.trust, versions, table_source(dsn, sealer.table), order.notes
        )
        return Rebuild(sealer, versions, order, *look).carry_out()


class Rebuild:
    """One order, from its survey to its statement."""

    def __init__(
        self,
        sealer: Sealer,
        versions: LogVersions,
        order: Order,
        found: Survey,
        restorer: Restorer,
    ) -> None:
        self._sealer = sealer
        self._log = sealer.log
        self._origin = sealer.trust.origin
        self._versions = versions
        self._order = order
        self._found = found
        self._restorer = restorer
        self._digest = order_digest(order.incident, order.objects)
        self._now = datetime.now(UTC)

    def carry_out(self) -> Done:
        """Put back, and state it."""
        if self._found.mode is not self._order.mode:
            raise Conflict(
                f"expected to put back {self._order.mode}, but the place keeps "
                f"{'' if self._found.versions_kept else 'no '}older versions now: make a new plan"
            )
        ordered = Ordered(self._order.objects)
        due = [one for one in self._found.objects if one.path in ordered]
        others = [
            Left(one.path, f"{one.why}; not in this order")
            for one in self._found.objects
            if one.path not in ordered
        ]
        left = (*self._found.left, *others)
        earlier = earlier_rebuilds(
            self._log, self._digest, self._origin, self._sealer.signer.verifier
        )
        left = (*left, *earlier.planted)
        due = [one for one in due if not self._lies_beside(earlier.ended, one)]
        if not due and earlier.intent is None:
            return self._again(earlier.ended, left)
        name = earlier.begun or self._new_name(earlier.names)
        intent = self._intent(name, due, earlier)
        put_back = [self._put(name, one, intent) for one in due]
        already, wrong = self._already(intent, {one.path for one in due})
        return self._state(name, intent, [*put_back, *already], (*left, *wrong))

    def _new_name(self, taken: Collection[str]) -> str:
        at = self._now
        while (name := f"{at:%Y%m%dT%H%M%SZ}-{self._digest}") in taken:
            at += timedelta(seconds=1)
        return name

    def _again(self, ended: str, left: tuple[Left, ...]) -> Done:
        """The order was carried out before: its statement once more, if there is one."""
        if not ended:
            return Done(self._found, (), left)
        path, data, note = read_signed(
            self._log, ended, "statement", self._origin, [self._sealer.signer.verifier]
        )
        return Done(self._found, (), left, path, sha256(data).hexdigest(), note)

    def _intent(self, name: str, due: Sequence[Damaged], earlier: Earlier) -> Intent:
        """Write down what will be done, unless a killed attempt of this name has written it.

        Where somebody has taken the place of its statement, it is written anew, as it was found.
        """
        intent = earlier.intent
        if intent is not None and intent.head.size > self._found.head.size:
            raise NotProven(
                f"{self._log}: {name} was begun at {intent.head.size} signed records, now the "
                f"newest head has {self._found.head.size}: a person must look"
            )
        if intent is None:
            intent = Intent.of(self._found, {one.path: (one, self._kept(one.path)) for one in due})
        if not earlier.begun:
            about = {"name": name, "at": self._now.isoformat()}
            self._write_signed(name, "intent", about | intent.as_json())
        return intent

    def _write_signed(self, name: str, kind: str, value: dict[str, Any]) -> tuple[str, bytes, str]:
        """(path, document, note); the note comes last: without it the document says nothing."""
        document = json.dumps(value, sort_keys=True, indent=1).encode()
        note = sign_note(signed_text(self._origin, kind, document), self._sealer.signer)
        path = document_path(name, kind, sha256(document).hexdigest())
        self._log.write(path, document)
        self._log.write(f"{REBUILT}{name}/{kind}.note", note.encode())
        return path, document, note

    def _lies_beside(self, ended: str, one: Damaged) -> bool:
        """Whether an earlier rebuild of this order has laid the right copy beside already."""
        if not ended or self._found.versions_kept or one.why is Why.MISSING:
            return False
        _, data = self._restorer.content(one.path)
        try:
            return self._log.read(f"{REBUILT}{ended}/{one.path}", len(data)) == data
        except (NotFound, Malformed):
            return False

    def _kept(self, path: str) -> str:
        """The version that stays of the old object, or the marker that hides it."""
        newest = [each for each in self._versions.below(path) if each.path == path]
        return next((each.version_id for each in newest if each.is_latest), "")

    def _put(self, name: str, one: Damaged, intent: Intent) -> PutBack:
        source, data = self._restorer.content(one.path)
        path = one.path
        intended = intent.objects.get(path)
        kept = (intended.kept if intended else "") or self._kept(path)
        current = self._versions.current(path) if one.why is not Why.MISSING else None
        if one.why is Why.MISSING:
            self._log.write(path, data)
        elif current is not None and self._found.versions_kept:
            self._versions.write_over(path, data, current[1])
            kept = current[0]
        else:
            path = f"{REBUILT}{name}/{one.path}"
            self._log.write(path, data)
        self._check(path, data)
        return PutBack(path, one.path, one.why, source, sha256(data).hexdigest(), len(data), kept)

    def _check(self, path: str, data: bytes) -> None:
        """What was written is read back: an answer of the store is not yet a stored object."""
        if self._log.read(path, max(len(data), 1)) != data:
            raise Conflict(f"{self._log}{path} was written over meanwhile: look who writes there")

    def _already(self, intent: Intent, due: set[str]) -> tuple[list[PutBack], list[Left]]:
        """What the attempt before has put back, and what is damaged still.

        Not everything that is not due any more is right: what a later sealing has replaced is not
        surveyed.
        """
        done, wrong = [], []
        for path, one in intent.objects.items():
            if path in due:
                continue
            try:
                data = self._log.read(path, MAX_STORED_BYTES)
                is_right = self._restorer.is_right(path, data)
            except (NotFound, Malformed, BadInput, NotProven):
                is_right = False
            if is_right:
                digest = sha256(data).hexdigest()
                done.append(PutBack(path, path, one.why, one.source, digest, len(data), one.kept))
            else:
                why = f"{one.why}; an earlier attempt has not put it back, and nothing needs it now"
                wrong.append(Left(path, why))
        return done, wrong

    def _state(
        self, name: str, intent: Intent, put_back: Sequence[PutBack], left: tuple[Left, ...]
    ) -> Done:
        stated = intent.stated(self._found)
        about = {
            "name": name,
            "incident": self._order.incident,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "by": self._sealer.signer.name,
            "versions_kept": self._found.versions_kept,
        }
        rebuilt = stored_tree(self._log, stated.head.size)
        path, document, note = self._write_signed(
            name, "statement", statement(stated, rebuilt, put_back, left, about)
        )
        return Done(stated, tuple(put_back), left, path, sha256(document).hexdigest(), note)
