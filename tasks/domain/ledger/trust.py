"""Whom a verifier believes about one log: its keys, its witnesses, and the head that it kept.

A head counts when a log key signed it that is valid for its size, and a quorum of witnesses
cosigned it. Keys are rotated by size: the old key ends where the new one begins, so a retired key
cannot sign a newer head. A head that only the log signed may be one of two histories; witnesses
each sign one.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from tasks.domain.errors import BadInput
from tasks.domain.ledger.checkpoints import Checkpoint, CheckpointError, parse_checkpoint
from tasks.domain.ledger.note_keys import (
    KeyType,
    NoteError,
    NoteSignatureError,
    NoteVerifier,
)
from tasks.domain.ledger.notes import Signature, note_text, signatures

MAX_TRUST_BYTES = 128 * 1024

_MOST = 1 << 63
_MAX_DOTS = 100
_CLOCK_SKEW = timedelta(minutes=10)
_FIELDS = frozenset({"origin", "quorum", "max_age_hours", "log_keys", "witnesses", "anchor"})


class TrustError(BadInput):
    """The trust policy says what cannot be; the message names the field."""


class NoQuorum(NoteError):
    """The log signed the head, but too few of its witnesses did."""


@dataclass(frozen=True, slots=True)
class LogKey:
    """A key that signs heads with `from_size` <= size <= `until_size` (None: without end)."""

    verifier: NoteVerifier
    from_size: int = 0
    until_size: int | None = None

    def __post_init__(self) -> None:
        if self.verifier.type is not KeyType.LOG:
            raise TrustError(f"log_keys: expected a key of type 1, {self.verifier} is a witness's")
        until = self.from_size if self.until_size is None else self.until_size
        if not 0 <= self.from_size <= until:
            raise TrustError(f"log_keys: {self.verifier}: expected 0 <= from_size <= until_size")

    def covers(self, size: int) -> bool:
        """Whether the key may sign a head of this size."""
        return size >= self.from_size and (self.until_size is None or size <= self.until_size)


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A head that counts, and the witnesses' signatures on it."""

    checkpoint: Checkpoint
    cosigned: tuple[Signature, ...] = ()


@dataclass(frozen=True, slots=True)
class Trust:
    """`quorum` of the `witnesses` must have signed; the newest head is at most `max_age` old.

    `anchor`: the note of a head that was kept elsewhere; every newer head must continue it.
    """

    origin: str
    log_keys: tuple[LogKey, ...]
    witnesses: tuple[NoteVerifier, ...] = ()
    quorum: int = 0
    max_age: timedelta | None = None
    anchor: str = ""

    def __post_init__(self) -> None:
        if not self.origin or "\n" in self.origin:
            raise TrustError("origin: expected the first line of the checkpoints, not empty")
        if not self.log_keys:
            raise TrustError("log_keys: expected at least one key, found none")
        wrong = [str(each) for each in self.witnesses if each.type is not KeyType.WITNESS]
        if wrong:
            raise TrustError(f"witnesses: expected keys of type 4, {wrong[0]} is a log's")
        if len({each.public for each in self.witnesses}) != len(self.witnesses):
            raise TrustError("witnesses: one key stands there twice; it would count twice")
        if {each.public for each in self.witnesses} & {
            each.verifier.public for each in self.log_keys
        }:
            raise TrustError("witnesses: a key of the log stands there; it cannot witness itself")
        if len({each.name for each in self.witnesses}) != len(self.witnesses):
            raise TrustError("witnesses: one name stands there twice; a witness counts once")
        if not 0 <= self.quorum <= len(self.witnesses):
            raise TrustError(
                f"quorum: expected 0 to {len(self.witnesses)} (the witnesses), found {self.quorum}"
            )
        if self.max_age is not None and not self.witnesses:
            raise TrustError("max_age_hours: only witnesses sign a time; name some, or none")

    @classmethod
    def in_key(cls, vkey: str, origin: str) -> Self:
        """The least there can be: one key, no witness."""
        return cls(origin, (LogKey(NoteVerifier.parse(vkey)),))

    @classmethod
    def parse(cls, text: str) -> Self:
        """From TOML, as README.md ("Trust") has it; TrustError names what is wrong."""
        if len(text) > MAX_TRUST_BYTES:
            raise TrustError(f"expected a trust policy of at most {MAX_TRUST_BYTES} bytes")
        if (
            max(line.count(".") for line in text.split("\n")) > _MAX_DOTS
        ):  # a parser of them is slow
            raise TrustError(f"expected at most {_MAX_DOTS} dots on a line of the trust policy")
        try:
            document = tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            raise TrustError(f"the trust policy is not TOML: {str(error)[:200]}") from error
        _known(document, _FIELDS, "the trust policy")
        hours = document.get("max_age_hours")
        if hours is not None and (type(hours) not in (int, float) or not 0 < hours <= 24 * 366):
            raise TrustError("max_age_hours: expected a number of hours, at most a year")
        trust = cls(
            origin=_text(document, "origin"),
            log_keys=tuple(_log_key(each) for each in _tables(document, "log_keys")),
            witnesses=tuple(_witness(each) for each in _tables(document, "witnesses")),
            quorum=_size(document, "quorum", 0),
            max_age=None if hours is None else timedelta(hours=hours),
            anchor=_text(_anchor(document), "note") if "anchor" in document else "",
        )
        if trust.anchor:
            trust.open_anchor()
        return trust

    def open(self, note: str) -> SignedHead:
        """The head, if it counts by itself.

        NoteSignatureError: no valid key signed it, or a known signature is wrong. NoQuorum: too
        few witnesses. CheckpointError: of another log. NoteError: malformed.
        """
        head = self.open_signed(note)
        if len(head.cosigned) < self.quorum:
            raise NoQuorum(
                f"expected cosignatures by {self.quorum} of {len(self.witnesses)} witnesses, found "
                f"{len(head.cosigned)}: the sealer signed this head, nobody else saw it"
            )
        return head

    def open_signed(self, note: str) -> SignedHead:
        """A head that the log signed, whoever saw it: enough for one that a newer head covers."""
        found = signatures(note, [each.verifier for each in self.log_keys] + list(self.witnesses))
        checkpoint = parse_checkpoint(note_text(note))
        if checkpoint.origin != self.origin:
            raise CheckpointError(
                f"expected a checkpoint of {self.origin!r}, found one of {checkpoint.origin[:80]!r}"
            )
        by = {each.verifier for each in found}
        signed = [each for each in self.log_keys if each.verifier in by]
        if not signed:
            wanted = ", ".join(str(each.verifier) for each in self.log_keys)
            raise NoteSignatureError(f"expected a signature by one of [{wanted}], found none")
        if not any(each.covers(checkpoint.size) for each in signed):
            raise NoteSignatureError(
                f"the key {signed[0].verifier} signed size {checkpoint.size}, but is valid from "
                f"{signed[0].from_size} to {signed[0].until_size}: retired or not yet in use"
            )
        return SignedHead(checkpoint, tuple(each for each in found if each.at is not None))

    def open_anchor(self) -> Checkpoint | None:
        """The kept head; TrustError when it is not one of this log."""
        if not self.anchor:
            return None
        try:
            return self.open_signed(self.anchor).checkpoint
        except NoteError as error:
            raise TrustError(f"anchor: {error}") from error

    def staleness(self, cosigned: Sequence[Signature], now: datetime) -> str:
        """Why the newest head is too old to be the newest; empty when it is fresh.

        Whoever freezes what we see shows a true, old head: only the witnesses' times tell. Times
        in the future do not count.
        """
        if self.max_age is None:
            return ""
        times = [each.at for each in cosigned if each.at and each.at <= now + _CLOCK_SKEW]
        needed = max(1, self.quorum)
        if sum(at >= now - self.max_age for at in times) >= needed:
            return ""
        newest = max(times, default=None)
        seen = "never" if newest is None else f"last at {newest.isoformat()}"
        hours = self.max_age.total_seconds() / 3600
        return (
            f"expected {needed} witnesses to have seen the newest head within {hours:g} hours, "
            f"they saw it {seen}: sealing has stopped, or newer heads are kept from us"
        )


def _log_key(table: dict[str, Any]) -> LogKey:
    _known(table, frozenset({"key", "from_size", "until_size"}), "log_keys")
    until = _size(table, "until_size", 0) if "until_size" in table else None
    return LogKey(_key(table, "log_keys"), _size(table, "from_size", 0), until)


def _witness(table: dict[str, Any]) -> NoteVerifier:
    _known(table, frozenset({"key"}), "witnesses")
    return _key(table, "witnesses")


def _key(table: dict[str, Any], where: str) -> NoteVerifier:
    try:
        return NoteVerifier.parse(_text(table, "key"))
    except NoteError as error:
        raise TrustError(f"{where}: {error}") from error


def _anchor(document: dict[str, Any]) -> dict[str, Any]:
    table = document["anchor"]
    if not isinstance(table, dict):
        raise TrustError("anchor: expected a table with the field note")
    _known(table, frozenset({"note"}), "anchor")
    return table


def _known(table: dict[str, Any], fields: frozenset[str], where: str) -> None:
    unknown = sorted(set(table) - fields)
    if unknown:
        raise TrustError(
            f"{where}: unknown field {ascii(unknown[0])[:60]}; "
            f"known are {', '.join(sorted(fields))}"
        )


def _tables(document: dict[str, Any], field: str) -> list[dict[str, Any]]:
    tables = document.get(field, [])
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise TrustError(f"{field}: expected tables, written [[{field}]]")
    return tables


def _text(table: dict[str, Any], field: str) -> str:
    value = table.get(field)
    if not isinstance(value, str):
        raise TrustError(f"{field}: expected a text")
    return value


def _size(table: dict[str, Any], field: str, default: int) -> int:
    value = table.get(field, default)
    if type(value) is not int or not 0 <= value < _MOST:
        raise TrustError(f"{field}: expected a whole number, 0 or more, below 2**63")
    return value
