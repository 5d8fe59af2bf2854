r"""Verifies an auditor bundle of a sealed audit log, offline. One file, made to be read.

    python -I verify.py BUNDLE [--trust FILE | --key VKEY ...] [--origin TEXT] [--json FILE]

It needs Python 3.9 or newer and the package `cryptography` (for Ed25519 alone); it opens no
connection, runs nothing from the bundle and writes nothing but `--json FILE`. BUNDLE is a
directory or a zip file. The verifier key of the log (`name+hash+base64`) should come from
elsewhere than the bundle: by `--key`, once for each key, or `--trust`, a policy file.

Exit codes: 0 proved under keys that you gave; 3 the same, but under the keys in the bundle itself;
1 not proved; 2 could not tell (no bundle, unreadable, wrong use).

Formats: RFC 6962 section 2.1 (tree, proofs), C2SP signed-note, tlog-checkpoint, tlog-cosignature
v1, tlog-proof v1, tlog-tiles, and the body of tlog-witness's add-checkpoint.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import json
import os
import re
import stat
import struct
import sys
import textwrap
import traceback
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any, Union

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

PROVED, NOT_PROVED, COULD_NOT_TELL, PROVED_BY_ITS_OWN_KEYS = 0, 1, 2, 3

MANIFEST, README, POLICY, VERDICT, VERIFIER = (
    "MANIFEST",
    "README.txt",
    "trust.toml",
    "verdict.json",
    "verify.py",
)
REQUIRED = (README, POLICY, VERDICT, VERIFIER)
HASH = 32
TILE = 256

# Bounds. A bundle is hostile input: nothing is read that is larger than what it can rightly be.
MAX_FILES = 60_000
MAX_MANIFEST = 16 * 1024 * 1024
MAX_NOTE = 64 * 1024
MAX_POLICY = 128 * 1024
MAX_TOTAL = 16 * 1024**3
MAX_LINE = 1024 * 1024
MAX_DIRECTORY_OF_ZIP = 32 * 1024 * 1024
MAX_DEPTH = 8
MAX_SIGNATURES = 100
MAX_HASHES = 63
SHOWN = 20

_NUMBER = r"(0|[1-9][0-9]{0,18})"
KINDS: dict[str, tuple[str, int]] = {
    "readme": (r"README\.txt", 64 * 1024),
    "policy": (r"trust\.toml", MAX_POLICY),
    "verdict": (r"verdict\.json", 512 * 1024),
    "verifier": (r"verify\.py", 1024 * 1024),
    "checkpoint": (rf"checkpoints/{_NUMBER}", MAX_NOTE),
    "consistency": (rf"consistency/{_NUMBER}", 2 * MAX_NOTE),
    "record": (rf"records/{_NUMBER}\.tlog-proof", 2 * MAX_NOTE),
    "tile": (r"tile/0/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", TILE * HASH),
    "lines": (rf"lines/{_NUMBER}-{_NUMBER}\.jsonl", 16 * 1024 * 1024),
}
"""What may lie in a bundle: kind, the form of its name, its largest size in bytes."""


class NotABundle(Exception):
    """The path, an option or the container cannot be read: nothing was decided."""


class Broken(Exception):
    """Something in the bundle does not hold; the message says what was expected and found."""


# ---------------------------------------------------------------------------------------------
# Files: a directory or a zip, with plain names, bounded sizes, no links.


class Folder:
    """A bundle in a directory."""

    def __init__(self, root: str) -> None:
        self._root = Path(root)
        self._sizes: dict[str, int] = {}
        self._folders = 0
        self._walk("", 0)
        self.names = sorted(self._sizes)

    def _walk(self, prefix: str, depth: int) -> None:
        self._folders += 1
        if depth > MAX_DEPTH or self._folders > MAX_FILES:
            raise NotABundle(f"folders are too many, or nested too deeply: {shown(prefix)}")
        with os.scandir(self._root / prefix) as entries:
            for entry in entries:
                name = prefix + entry.name
                if entry.is_dir(follow_symlinks=False):
                    self._walk(f"{name}/", depth + 1)
                else:
                    self._sizes[name] = entry.stat(follow_symlinks=False).st_size
                if len(self._sizes) > MAX_FILES:
                    raise NotABundle(f"expected at most {MAX_FILES} files, found more")

    def total(self) -> int:
        """Bytes of all files, as the listing has them."""
        return sum(self._sizes.values())

    def read(self, name: str, limit: int) -> bytes:
        """The file's bytes; Broken when it is a link, no plain file, or larger than `limit`."""
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        flags |= getattr(os, "O_BINARY", 0)
        path = self._root / name
        try:
            if path.is_symlink():
                raise Broken(f"{name} is a link; a bundle holds plain files only")
            with os.fdopen(os.open(path, flags), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise Broken(f"{name} is not a plain file")
                return within(name, file.read(limit + 1), limit)
        except OSError as error:
            raise Broken(f"{name} cannot be read: {error.strerror}") from error


class Zip:
    """A bundle in a zip file, stored or deflated, without zip64, comment or encryption."""

    def __init__(self, path: str) -> None:
        self._check_end(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except _ZIP_ERRORS as error:
            raise NotABundle(f"the zip file is damaged: {shown(error)}") from error
        self._entries: dict[str, zipfile.ZipInfo] = {}
        entries = sorted(self._zip.infolist(), key=lambda each: each.header_offset)
        end = 0
        for entry in entries:
            # Two entries over the same bytes are how a small file unpacks to a huge one.
            if entry.header_offset < end or (end == 0 and entry.header_offset != 0):
                raise NotABundle("the zip's entries overlap, or other bytes stand before them")
            end = entry.header_offset + 30 + len(entry.orig_filename) + entry.compress_size
            self._add(entry)
        self.names = sorted(self._entries)

    def _add(self, entry: zipfile.ZipInfo) -> None:
        name = entry.orig_filename
        if name.endswith("/") and entry.file_size == 0:
            return  # a folder, which other zip programs write; the names of files are what counts
        if name in self._entries:
            raise NotABundle(f"the zip holds {shown(name)} twice")
        if (
            name != entry.filename
            or entry.flag_bits & 0x1
            or stat.S_ISLNK(entry.external_attr >> 16)
        ):
            raise NotABundle(f"the zip's entry {shown(name)} is a link, encrypted or oddly named")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise NotABundle(f"the zip's entry {shown(name)} is packed in an unknown way")
        self._entries[name] = entry

    @staticmethod
    def _check_end(path: str) -> None:
        """Bound the table of contents before it is loaded: it stands in the last 22 bytes."""
        with Path(path).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 42))
            tail = file.read(42)
        if len(tail) < 22 or tail[-22:-18] != b"PK\5\6":
            raise NotABundle("expected a zip file that ends with its table of contents")
        count, length, offset = struct.unpack("<H2L", tail[-12:-2])
        if tail[-42:-38] == b"PK\6\7" or count > MAX_FILES or length > MAX_DIRECTORY_OF_ZIP:
            raise NotABundle(f"expected a zip of at most {MAX_FILES} files and 4 GiB")
        if offset + length + 22 != size:
            raise NotABundle("the zip is cut off, or other bytes stand before or after it")

    def total(self) -> int:
        """Bytes of all files, as the listing has them."""
        return sum(entry.file_size for entry in self._entries.values())

    def read(self, name: str, limit: int) -> bytes:
        """The entry's bytes, unpacked no further than `limit`; Broken when it is damaged."""
        try:
            with self._zip.open(self._entries[name]) as file:
                return within(name, file.read(limit + 1), limit)
        except _ZIP_ERRORS as error:
            raise Broken(f"{name} is damaged in the zip: {shown(error)}") from error


_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    EOFError,
    ValueError,  # UnicodeDecodeError of a name among them
    NotImplementedError,
    RuntimeError,
    OverflowError,
)


def within(name: str, data: bytes, limit: int) -> bytes:
    """The data; Broken when there is more of it than may be."""
    if len(data) > limit:
        raise Broken(f"{name}: expected at most {limit} bytes, found more")
    return data


Files = Union[Folder, Zip]


def open_files(path: str) -> Files:
    """Folder or Zip; NotABundle when the path is neither."""
    try:
        files: Files = Folder(path) if Path(path).is_dir() else Zip(path)
    except (OSError, ValueError) as error:
        raise NotABundle(f"cannot read {shown(path)}: {shown(error)}") from error
    if MANIFEST not in files.names:
        raise NotABundle(
            f"expected a bundle with {MANIFEST} at its top, found none in {shown(path)}"
        )
    if files.total() > MAX_TOTAL:
        raise NotABundle(f"expected at most {MAX_TOTAL} bytes in all, found {files.total()}")
    return files


def kind_of(name: str) -> str | None:
    """The kind of a file by its name; None for any name that is not a bundle's."""
    for kind, (form, _) in KINDS.items():
        if re.fullmatch(form, name, re.ASCII):
            return kind
    return None


def shown(text: object, limit: int = 200) -> str:
    """Text from outside, harmless to a terminal: ASCII, escapes visible, cut."""
    return ascii(str(text))[1:-1][:limit]


def utf8(name: str, data: bytes) -> str:
    """The text of a file; Broken when it is not UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Broken(f"{name} is not UTF-8 text") from error


# ---------------------------------------------------------------------------------------------
# The tree: RFC 6962 section 2.1.


def leaf_hash(line: bytes) -> bytes:
    """SHA-256(0x00 || line)."""
    return sha256(b"\x00" + line).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


def split(size: int) -> int:
    """The largest power of two smaller than `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def root_by_path(index: int, size: int, leaf: bytes, path: Sequence[bytes]) -> bytes:
    """The root that leaf `index` of `size` leads to by its audit path: PATH of 2.1.1 backwards."""
    if size == 1:
        if path:
            raise Broken("the inclusion proof is too long")
        return leaf
    if not path:
        raise Broken("the inclusion proof is too short")
    left = split(size)
    if index < left:
        return node_hash(root_by_path(index, left, leaf, path[:-1]), path[-1])
    return node_hash(path[-1], root_by_path(index - left, size - left, leaf, path[:-1]))


def roots_by_growth(
    old: int, new: int, old_root: bytes, path: Sequence[bytes], *, whole: bool = True
) -> tuple[bytes, bytes]:
    """(old root, new root) that a consistency proof leads to: SUBPROOF of 2.1.2 backwards.

    `whole`: the old tree is a subtree as it stands, and its root is what is to be proven.
    """
    if old == new:
        if len(path) != (0 if whole else 1):
            raise Broken("the consistency proof has another length than the sizes need")
        return (old_root, old_root) if whole else (path[0], path[0])
    if not path:
        raise Broken("the consistency proof is too short")
    left = split(new)
    if old <= left:
        before, after = roots_by_growth(old, left, old_root, path[:-1], whole=whole)
        return before, node_hash(after, path[-1])
    before, after = roots_by_growth(old - left, new - left, old_root, path[:-1], whole=False)
    return node_hash(path[-1], before), node_hash(path[-1], after)


def roots_at(leaves: bytes, sizes: set[int]) -> dict[int, bytes]:
    """Roots over the first n leaves for each n of `sizes`, recomputed from every leaf hash."""
    roots = {0: sha256(b"").digest()}
    stack: list[bytes] = []  # roots of perfect subtrees, from left to right
    for count in range(1, len(leaves) // HASH + 1):
        stack.append(leaves[(count - 1) * HASH : count * HASH])
        filled = count
        while filled % 2 == 0:
            right = stack.pop()
            stack[-1] = node_hash(stack[-1], right)
            filled //= 2
        if count in sizes:
            root = stack[-1]
            for left in reversed(stack[:-1]):
                root = node_hash(left, root)
            roots[count] = root
    return roots


# ---------------------------------------------------------------------------------------------
# Keys, policy and heads: C2SP signed-note, tlog-checkpoint, tlog-cosignature v1.

LOG, WITNESS = 1, 4


@dataclass(frozen=True)
class Key:
    """A public key, and the sizes of heads that it may sign (a log's key only)."""

    name: str
    key_id: bytes
    kind: int
    public: bytes
    first: int = 0
    last: int | None = None

    @property
    def vkey(self) -> str:
        """name+hash+base64."""
        packed = base64.b64encode(bytes([self.kind]) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{packed}"


@dataclass(frozen=True)
class Head:
    """A checkpoint whose signature is right; `seen`: (witness, seconds since 1970)."""

    origin: str
    size: int
    root: bytes
    note: str
    signers: tuple[Key, ...]
    seen: tuple[tuple[Key, int], ...]


@dataclass(frozen=True)
class Policy:
    """Whom to believe: keys of the log, witnesses, how many of them, a head that was kept."""

    origin: str
    log_keys: tuple[Key, ...]
    witnesses: tuple[Key, ...] = ()
    quorum: int = 0
    anchor: str = ""


def strict_base64(text: str, what: str) -> bytes:
    """The bytes; Broken for anything but the one way to write them."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error) as error:
        raise Broken(f"the {what} is not base64") from error
    if base64.b64encode(data).decode() != text:
        raise Broken(f"the {what} is base64 with stray bits")
    return data


def good_name(name: str) -> bool:
    """Whether this may be the name of a key."""
    return bool(name) and name.isprintable() and not re.search(r"[\s+]", name)


def parse_key(vkey: str, first: int = 0, last: int | None = None) -> Key:
    """A key from name+hash+base64; Broken when it is anything else."""
    parts = vkey.strip().split("+", 2)
    if len(parts) != 3 or not good_name(parts[0]):
        raise Broken("expected a key of the form name+hash+base64")
    packed = strict_base64(parts[2], "key")
    if len(packed) != 1 + HASH or packed[0] not in (LOG, WITNESS):
        raise Broken(f"the key {shown(parts[0])} is not an Ed25519 key of a log or a witness")
    key_id = sha256(parts[0].encode() + b"\n" + packed).digest()[:4]
    if parts[1] != key_id.hex():
        raise Broken(f"the key {shown(parts[0])} does not have the hash that it names")
    return Key(parts[0], key_id, packed[0], packed[1:], first, last)


def policy_of_keys(vkeys: Sequence[str], origin: str | None) -> Policy:
    """The policy of `--key`: all witnesses given must have signed, a log's key signs any size.

    The origin is the log key's name, as C2SP recommends, unless it is given.
    """
    keys = [parse_key(each) for each in vkeys]
    log_keys = tuple(key for key in keys if key.kind == LOG)
    witnesses = tuple(key for key in keys if key.kind == WITNESS)
    if not log_keys:
        raise Broken("expected at least one key of the log (type 1) among the keys, found none")
    policy = Policy(origin or log_keys[0].name, log_keys, witnesses, len(witnesses))
    check_policy(policy)
    return policy


def check_policy(policy: Policy) -> None:
    """Broken when the policy says what cannot be, or counts one witness twice."""
    if not policy.origin or "\n" in policy.origin or not policy.log_keys:
        raise Broken("the policy needs an origin of one line and at least one key of the log")
    if any(key.kind != LOG for key in policy.log_keys):
        raise Broken("the policy has a witness's key among the log's")
    if any(key.kind != WITNESS for key in policy.witnesses):
        raise Broken("the policy has a log's key among the witnesses'")
    if {key.public for key in policy.log_keys} & {key.public for key in policy.witnesses}:
        raise Broken("the policy takes a key of the log for a witness: nobody else would have seen")
    if any(key.last is not None and key.last < key.first for key in policy.log_keys):
        raise Broken("the policy has a key whose sizes end before they begin")
    for distinct in (
        {key.public for key in policy.witnesses},
        {key.name for key in policy.witnesses},
    ):
        if len(distinct) != len(policy.witnesses):
            raise Broken("the policy names one witness twice")
    if not 0 <= policy.quorum <= len(policy.witnesses):
        raise Broken(f"the policy wants {policy.quorum} of {len(policy.witnesses)} witnesses")


def open_head(note: str, policy: Policy, *, quorum: bool) -> Head:
    """The head, if a key of the policy signed it (and, if asked for, a quorum of witnesses)."""
    text, separator, block = note.rpartition("\n\n")
    text += "\n"
    if not separator or not block.endswith("\n") or re.search(r"[\x00-\x09\x0b-\x1f]", text):
        raise Broken("expected a text, an empty line and signature lines")
    by = signatures(text, block[:-1].split("\n"), policy)
    lines = text.split("\n")
    if len(lines) < 4 or not all(lines[:-1]) or not re.fullmatch(_NUMBER, lines[1], re.ASCII):
        raise Broken("expected a checkpoint: origin, size and root, each on a line")
    origin, size, root = lines[0], int(lines[1]), strict_base64(lines[2], "root")
    if len(root) != HASH or (size == 0 and root != sha256(b"").digest()):
        raise Broken("expected a root of 32 bytes, for size 0 that of the empty tree")
    if origin != policy.origin:
        raise Broken(
            f"expected a head of the log {shown(policy.origin)}, found one of {shown(origin)}"
        )
    signed = [key for key in policy.log_keys if key in by]
    if not signed:
        raise Broken(
            "none of the log's keys that are believed has signed it (if the log changed its key,"
            " the older ones must be given, too)"
        )
    signers = tuple(
        key for key in signed if key.first <= size and (key.last is None or size <= key.last)
    )
    if not signers:
        raise Broken(f"the key that signed it is not valid for size {size}")
    seen = tuple((key, by[key]) for key in policy.witnesses if key in by)
    if quorum and len(seen) < policy.quorum:
        raise Broken(
            f"expected cosignatures by {policy.quorum} of {len(policy.witnesses)} witnesses, found"
            f" {len(seen)}"
        )
    return Head(origin, size, root, note, signers, seen)


def signatures(text: str, lines: Sequence[str], policy: Policy) -> dict[Key, int]:
    """Known keys whose signature is right, with a witness's time (a log's: 0).

    Lines of unknown keys are read over; a wrong or repeated one of a known key spoils the note.
    """
    if len(lines) > MAX_SIGNATURES:
        raise Broken(f"expected at most {MAX_SIGNATURES} signatures, found {len(lines)}")
    found: dict[Key, int] = {}
    for line in lines:
        fields = line.split(" ")
        if len(fields) != 3 or fields[0] != "\u2014" or not good_name(fields[1]):
            raise Broken("expected a signature line: em dash, key name, base64")
        packed = strict_base64(fields[2], "signature")
        if len(packed) < 5:
            raise Broken("a signature is shorter than its key id and one byte")
        for key in (*policy.log_keys, *policy.witnesses):
            if (key.name, key.key_id) == (fields[1], packed[:4]):
                if key in found:
                    raise Broken(f"two signatures by {shown(key.name)}")
                found[key] = check_signature(key, text, packed[4:])
    return found


def check_signature(key: Key, text: str, signature: bytes) -> int:
    """Seconds since 1970 that a witness signed, 0 for a log; Broken when it is wrong."""
    message, seconds = text.encode(), 0
    if key.kind == WITNESS:
        seconds, signature = int.from_bytes(signature[:8], "big"), signature[8:]
        message = b"cosignature/v1\ntime %d\n" % seconds + message
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise Broken(f"the signature by {shown(key.name)} is wrong") from error
    return seconds


# ---------------------------------------------------------------------------------------------
# The policy file: the plain part of TOML that policies are written in (Python 3.9 reads no TOML).

_SETTING = re.compile(r"([a-z_]+)[ \t]*=[ \t]*(.*)")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f\x7f]|\\(?:[btnfr"\\]|u[0-9a-fA-F]{4}))*"')
_NUMBER_VALUE = re.compile(r"(?:0|[1-9][0-9]{0,18})(?:\.[0-9]{1,9})?")
_TRAILING = re.compile(r"[ \t]*(?:#[^\x00-\x08\x0a-\x1f\x7f]*)?")


def read_policy(text: str) -> Policy:
    """A policy from `trust.toml`; Broken when it is not in the plain form, or cannot be."""
    top, log_keys, witnesses, anchor = parse_tables(text)
    _only(top, "the policy", "origin", "quorum", "max_age_hours")
    for table in log_keys:
        _only(table, "log_keys", "key", "from_size", "until_size")
    for table in witnesses:
        _only(table, "witnesses", "key")
    _only(anchor or {}, "anchor", "note")
    policy = Policy(
        origin=_text(top, "origin"),
        log_keys=tuple(
            parse_key(
                _text(each, "key"),
                _size(each, "from_size"),
                _size(each, "until_size") if "until_size" in each else None,
            )
            for each in log_keys
        ),
        witnesses=tuple(parse_key(_text(each, "key")) for each in witnesses),
        quorum=_size(top, "quorum"),
        anchor="" if anchor is None else _text(anchor, "note"),
    )
    check_policy(policy)
    return policy


Table = dict[str, Any]


def parse_tables(text: str) -> tuple[Table, list[Table], list[Table], Table | None]:
    """(settings, [[log_keys]], [[witnesses]], [anchor]) of the text."""
    top: Table = {}
    log_keys: list[Table] = []
    witnesses: list[Table] = []
    anchor: Table | None = None
    table = top
    lines = iter(text.replace("\r\n", "\n").split("\n"))
    for line in lines:
        plain = line.strip(" \t")
        setting = _SETTING.fullmatch(plain)
        header = plain.partition("#")[0].rstrip(" \t")
        if setting is not None:
            if setting[1] in table:
                raise Broken(f"the policy sets {setting[1]} twice")
            table[setting[1]] = _parse_value(setting[2], lines)
        elif header in ("[[log_keys]]", "[[witnesses]]"):
            table = {}
            (log_keys if header == "[[log_keys]]" else witnesses).append(table)
        elif header == "[anchor]" and anchor is None:
            table = anchor = {}
        elif not _TRAILING.fullmatch(plain):
            raise Broken(
                f"the policy has a line that is not in its plain form: {shown(plain, 60)};"
                " write name = value, [[log_keys]], [[witnesses]] or [anchor]"
            )
    return top, log_keys, witnesses, anchor


def _parse_value(text: str, lines: Iterator[str]) -> object:
    """A string, number, or a text between lines of three quotes (which may hold no backslash)."""
    if text == '"""':
        found: list[str] = []
        for line in lines:
            if line == '"""':
                return "".join(f"{each}\n" for each in found)
            if "\\" in line or '"""' in line:
                break
            found.append(line)
        raise Broken('the policy has a text that does not end with a line of """, or escapes in it')
    string, number = _STRING.match(text), _NUMBER_VALUE.match(text)
    match = string or number
    if match is None or not _TRAILING.fullmatch(text[match.end() :]):
        raise Broken(f"the policy has a value that is not in its plain form: {shown(text, 60)}")
    if string is not None:
        value = json.loads(string[0])
        if any("\ud800" <= mark <= "\udfff" for mark in value):
            raise Broken("the policy has a text that is not Unicode")
        return value
    return float(match[0]) if "." in match[0] else int(match[0])


def _only(table: Table, where: str, *fields: str) -> None:
    unknown = sorted(set(table) - set(fields))
    if unknown:
        raise Broken(f"{where}: unknown field {shown(unknown[0], 60)}; known: {', '.join(fields)}")


def _text(table: Table, name: str) -> str:
    value = table.get(name)
    if not isinstance(value, str):
        raise Broken(f"the policy needs {name}, a text")
    return value


def _size(table: Table, name: str) -> int:
    value = table.get(name, 0)
    if type(value) is not int:
        raise Broken(f"the policy needs {name}, a whole number")
    return value


# ---------------------------------------------------------------------------------------------
# The verification, step by step.


@dataclass
class Report:
    """What came of it. `problems`: does not hold; `gaps`: could not be judged; `notes`: to know."""

    own_keys: bool
    policy: Policy | None = None
    head: Head | None = None
    older: list[int] = field(default_factory=list)
    anchor: int | None = None
    records: dict[int, bytes] = field(default_factory=dict)
    lines: list[tuple[int, int]] = field(default_factory=list)
    recomputed: bool = False
    claimed: str = ""
    files: int = 0
    problems: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def code(self) -> int:
        """The exit code."""
        if self.problems or self.head is None:
            return NOT_PROVED
        if self.gaps:
            return COULD_NOT_TELL
        return PROVED_BY_ITS_OWN_KEYS if self.own_keys else PROVED


class Verification:
    """One run over one bundle. Each file is read once, hashed, and used as it was read."""

    def __init__(self, files: Files, policy: Policy | None) -> None:
        self._files = files
        self._given = policy
        self._listed: dict[str, str] = {}
        self._by_kind: dict[str, list[str]] = {kind: [] for kind in KINDS}
        self._leaves = b""
        self._roots: dict[int, bytes] = {}
        self.report = Report(own_keys=policy is None)

    def run(self) -> Report:
        """All steps; a step that fails does not stop those that do not need it."""
        report = self.report
        try:
            self._read_manifest()
            self._read_statements()
            report.policy = self._read_policy()
            report.head = self._read_newest(report.policy)
        except Broken as error:
            report.problems.append(str(error))
            self._read_rest()
            return report
        policy, head = report.policy, report.head
        self._recompute(head)
        older = self._read_older(policy, head)
        self._check_anchor(policy, head, older)
        self._read_records(head)
        self._read_lines(head)
        self._read_verdict(head)
        self._read_rest()
        return report

    def _read_manifest(self) -> None:
        """(1) The manifest names every file that is there, once, and no other."""
        text = utf8(MANIFEST, self._files.read(MANIFEST, MAX_MANIFEST))
        if not text.endswith("\n"):
            raise Broken(f"{MANIFEST} is cut off")
        names: list[str] = []
        for line in text[:-1].split("\n"):
            match = re.fullmatch(r"([0-9a-f]{64})  ([!-~]{1,200})", line, re.ASCII)
            if match is None:
                raise Broken(f"{MANIFEST} has a line that is no hash and name: {shown(line, 90)}")
            names.append(match[2])
            self._listed[match[2]] = match[1]
        if names != sorted(set(names)):
            raise Broken(f"{MANIFEST} is not sorted, or names a file twice")
        present = set(self._files.names) - {MANIFEST}
        for name in sorted(present - set(names)):
            self.report.problems.append(f"unknown file, not in {MANIFEST}: {shown(name)}")
        for name in sorted(set(names) | set(REQUIRED)):
            kind = kind_of(name)
            if name not in present or name not in self._listed:
                self.report.problems.append(f"{shown(name)} is missing")
            elif kind is None:
                self.report.problems.append(f"{shown(name)} is not a file that a bundle has")
            else:
                self._by_kind[kind].append(name)
        self.report.files = len(names)

    def _take(self, name: str) -> bytes:
        """The file's bytes, compared with the manifest's hash; each file is taken once."""
        kind = kind_of(name)
        self._by_kind[kind or ""].remove(name)
        data: bytes = self._files.read(name, KINDS[kind or ""][1])
        if sha256(data).hexdigest() != self._listed[name]:
            raise Broken(f"{name} was altered: it is not the file that {MANIFEST} names")
        return data

    def _take_all(self, kind: str) -> list[tuple[str, bytes]]:
        """Files of a kind in the order of their numbers; unreadable ones become problems."""
        taken = []
        for name in sorted(self._by_kind[kind], key=natural):
            try:
                taken.append((name, self._take(name)))
            except Broken as error:
                self.report.problems.append(str(error))
        return taken

    def _read_statements(self) -> None:
        """(2) What nobody signed: the words for people, and the verifier that came along."""
        self._take_all("readme")
        for name, data in self._take_all("verifier"):
            if data != Path(__file__).read_bytes():
                self.report.notes.append(
                    f"the {name} in the bundle is another program than the one that says this;"
                    " do not run it unless you know why"
                )

    def _read_policy(self) -> Policy:
        """(3) Whom to believe: who asked says it, else the bundle itself."""
        enclosed = [read_policy(utf8(*each)) for each in self._take_all("policy")]
        if self._given is not None:
            keys = {key.vkey for key in (*self._given.log_keys, *self._given.witnesses)}
            for policy in enclosed:
                if keys != {key.vkey for key in (*policy.log_keys, *policy.witnesses)}:
                    self.report.notes.append(
                        f"the bundle's own {POLICY} names other keys than you gave; yours were used"
                    )
            return self._given
        if not enclosed:
            raise Broken(f"no policy can be read from {POLICY}, and none was given")
        return enclosed[0]

    def _read_newest(self, policy: Policy) -> Head:
        """(4) The newest head: signed by the log, seen by a quorum of witnesses."""
        names = sorted(self._by_kind["checkpoint"], key=natural)
        if not names:
            raise Broken("expected at least one checkpoint, found none")
        return self._open(names[-1], self._take(names[-1]), policy, quorum=True)

    def _open(self, name: str, data: bytes, policy: Policy, *, quorum: bool) -> Head:
        try:
            head = open_head(utf8(name, data), policy, quorum=quorum)
        except Broken as error:
            raise Broken(f"{name}: {error}") from error
        if name != f"checkpoints/{head.size}":
            raise Broken(f"{name} is the head of size {head.size}")
        return head

    def _recompute(self, head: Head) -> None:
        """(5) With all leaf hashes: the root anew (the older heads' follow from it, by step 6)."""
        names = self._by_kind["tile"]
        if not names:
            return
        full, rest = divmod(head.size, TILE)
        wanted = [tile_name(index) for index in range(min(full, MAX_FILES))]
        wanted += [f"{tile_name(full)}.p/{rest}"] if rest else []
        if sorted(names) != sorted(wanted):
            self.report.problems.append(f"the tiles are not those of {head.size} records")
            return
        parts = dict(self._take_all("tile"))
        for index, name in enumerate(wanted):
            length = (TILE if index < full else rest) * HASH
            if len(parts.get(name, b"")) != length:
                self.report.problems.append(f"{name} is damaged: expected {length} bytes")
                return
        leaves = b"".join(parts[name] for name in wanted)
        anchor = self._anchor_size()
        self._roots = roots_at(leaves, {head.size} if anchor is None else {head.size, anchor})
        if self._roots[head.size] != head.root:
            self.report.problems.append(
                f"the leaf hashes give root {self._roots[head.size].hex()}, signed is"
                f" {head.root.hex()}"
            )
            self._roots = {}
            return
        self._leaves = leaves
        self.report.recomputed = True

    def _anchor_size(self) -> int | None:
        policy = self.report.policy
        if policy is None or not policy.anchor:
            return None
        try:
            return open_head(policy.anchor, policy, quorum=False).size
        except Broken:
            return None  # step 7 says why

    def _read_older(self, policy: Policy, head: Head) -> dict[int, Head]:
        """(6) Each older head is a beginning of the newest: nothing before was changed since."""
        proofs = dict(self._take_all("consistency"))
        older: dict[int, Head] = {}
        for name, data in self._take_all("checkpoint"):
            try:
                old = self._open(name, data, policy, quorum=False)
                proof = proofs.pop(f"consistency/{old.size}", None)
                if proof is None:
                    raise Broken(f"{name} comes without its consistency proof")
                check_growth(old, head, utf8(f"consistency/{old.size}", proof))
            except Broken as error:
                self.report.problems.append(str(error))
            else:
                older[old.size] = old
                self.report.older.append(old.size)
        self.report.problems += [f"{shown(name)} belongs to no older checkpoint" for name in proofs]
        return older

    def _check_anchor(self, policy: Policy, head: Head, older: dict[int, Head]) -> None:
        """(7) The head that the policy's owner kept is a beginning of this history."""
        if not policy.anchor:
            return
        try:
            anchor = open_head(policy.anchor, policy, quorum=False)
        except Broken as error:
            self.report.problems.append(f"the anchor in the policy: {error}")
            return
        known = dict(self._roots)
        known.update((size, old.root) for size, old in older.items())
        known[head.size] = head.root
        if anchor.size > head.size:
            self.report.problems.append(
                f"the head that was kept has {anchor.size} records, the newest here {head.size}:"
                " newer heads are kept from you, or the log was cut"
            )
        elif anchor.size not in known:
            self.report.gaps.append(
                f"nothing here connects the head that was kept (size {anchor.size}) with the"
                " newest: ask for a bundle made with that policy, or with --full"
            )
        elif known[anchor.size] != anchor.root:
            self.report.problems.append(
                f"the head that was kept (size {anchor.size}) is of another history"
            )
        else:
            self.report.anchor = anchor.size

    def _read_records(self, head: Head) -> None:
        """(8) Each selected record's leaf hash leads to the signed root."""
        for name, data in self._take_all("record"):
            try:
                seq, leaf = check_record(name, utf8(name, data), head)
            except Broken as error:
                self.report.problems.append(str(error))
            else:
                self.report.records[seq] = leaf

    def _read_lines(self, head: Head) -> None:
        """(9) Lines, where enclosed, have the leaf hashes that were proven."""
        end = 0
        for name in sorted(self._by_kind["lines"], key=natural):
            try:
                first, last = (int(each) for each in re.findall(r"[0-9]+", name))
                lines = self._take(name).split(b"\n")
                if first < end or not first <= last < head.size or len(lines) != last - first + 2:
                    raise Broken(f"{name} does not hold the lines that its name says")
                if lines.pop() or any(len(line) > MAX_LINE for line in lines):
                    raise Broken(f"{name} is cut off, or has a line of over {MAX_LINE} bytes")
                for seq, line in enumerate(lines, first):
                    if self._known_leaf(seq) != leaf_hash(line):
                        raise Broken(f"{name}: the line of record {seq} is not the proven one")
                end = last + 1
            except Broken as error:
                self.report.problems.append(str(error))
            else:
                self.report.lines.append((first, last))

    def _known_leaf(self, seq: int) -> bytes | None:
        leaf = self.report.records.get(seq)
        return leaf or self._leaves[seq * HASH : (seq + 1) * HASH] or None

    def _read_verdict(self, head: Head) -> None:
        """(10) What the maker says about the log: told, not proven, and about the same head."""
        for name, data in self._take_all("verdict"):
            try:
                said = json.loads(utf8(name, data))
                about = said["checkpoint"]
                same = (about["origin"], about["size"], about["root"]) == (
                    head.origin,
                    head.size,
                    head.root.hex(),
                )
                claimed = said["verdict"]
            except Broken as error:
                self.report.problems.append(str(error))
            except (ValueError, KeyError, TypeError, RecursionError):
                self.report.problems.append(f"{name} is not a verdict")
            else:
                if not same or claimed not in ("verified", "tampered", "unverifiable"):
                    self.report.problems.append(f"{name} is about another head than the newest")
                else:
                    self.report.claimed = claimed

    def _read_rest(self) -> None:
        """(11) Whatever an earlier step did not get to is still compared with the manifest."""
        for kind in KINDS:
            self._take_all(kind)


def natural(name: str) -> tuple[int, str]:
    """Sort key: by the first number in a name."""
    number = re.search(r"[0-9]+", name)
    return (int(number[0]) if number else 0, name)


def tile_name(index: int) -> str:
    """`tile/0/x001/x234/067` (C2SP tlog-tiles), without what marks a partial one."""
    groups = [f"{index % 1000:03d}"]
    while index >= 1000:
        index //= 1000
        groups.insert(0, f"x{index % 1000:03d}")
    return "tile/0/" + "/".join(groups)


def parse_proof(name: str, text: str, form: str, head: Head) -> tuple[Any, list[bytes]]:
    """(match of the lines before the hashes, hashes) of a proof that ends in the newest note."""
    top, separator, note = text.partition("\n\n")
    match = re.match(form, top + "\n", re.ASCII)
    if not separator or match is None:
        raise Broken(f"{name} is not a proof in its proper form")
    if note != head.note:
        raise Broken(f"{name} is about another checkpoint than the newest one")
    rest = (top + "\n")[match.end() :].split("\n")[:-1]
    hashes = [strict_base64(each, f"hash in {name}") for each in rest]
    if len(hashes) > MAX_HASHES or any(len(each) != HASH for each in hashes):
        raise Broken(f"{name}: expected at most {MAX_HASHES} hashes of 32 bytes")
    return match, hashes


def check_growth(old: Head, head: Head, text: str) -> None:
    """Broken unless the text proves that the newest head appends to the older one."""
    name = f"consistency/{old.size}"
    match, hashes = parse_proof(name, text, rf"old {_NUMBER}\n", head)
    if int(match[1]) != old.size or old.size >= head.size:
        raise Broken(f"{name} is about another size")
    if old.size == 0:
        good = not hashes  # every log begins with nothing; opening the head checked its root
    else:
        good = roots_by_growth(old.size, head.size, old.root, hashes) == (old.root, head.root)
    if not good:
        raise Broken(
            f"checkpoints/{old.size} is not a beginning of the newest head: two histories, or a"
            " damaged proof"
        )


def check_record(name: str, text: str, head: Head) -> tuple[int, bytes]:
    """(seq, leaf hash) of a proof that leads to the newest root."""
    form = rf"c2sp\.org/tlog-proof@v1\nextra ([A-Za-z0-9+/=]{{1,120}})\nindex {_NUMBER}\n"
    match, hashes = parse_proof(name, text, form, head)
    said = re.fullmatch(rb"leaf ([0-9a-f]{64})", strict_base64(match[1], f"extra of {name}"))
    seq = int(match[2])
    if said is None or name != f"records/{seq}.tlog-proof" or seq >= head.size:
        raise Broken(f"{name} does not say which record of the log it is about")
    leaf = bytes.fromhex(said[1].decode())
    root = root_by_path(seq, head.size, leaf, hashes)
    if root != head.root:
        raise Broken(f"{name} leads to root {root.hex()}, signed is {head.root.hex()}")
    return seq, leaf


def verify_bundle(path: str, policy: Policy | None = None) -> Report:
    """Verify the bundle under a policy from elsewhere, or, without one, its own.

    NotABundle when there is nothing to judge.
    """
    try:
        return Verification(open_files(path), policy).run()
    except RecursionError as error:
        raise NotABundle("the bundle is nested too deeply") from error


# ---------------------------------------------------------------------------------------------
# The words.

_OWN_KEYS = """\
PROVED UNDER THE KEYS IN THIS BUNDLE only. Whoever made the bundle chose them: compare them with
the log's published keys by another channel, or run this again with --key or --trust. Until then
it proves nothing against its maker."""
_HEADLINES = {
    PROVED: "PROVED under the keys that you gave.",
    PROVED_BY_ITS_OWN_KEYS: _OWN_KEYS,
    NOT_PROVED: "NOT PROVED. Do not rely on anything in this bundle.",
    COULD_NOT_TELL: "COULD NOT TELL: something that must be judged cannot be.",
}
_PROVEN = {
    PROVED: "What is proven",
    PROVED_BY_ITS_OWN_KEYS: "What is proven if these keys are the log's",
    COULD_NOT_TELL: "What holds all the same",
}


def words(report: Report) -> str:
    """What was found, for people."""
    parts = [_HEADLINES[report.code]]
    parts += _section("What does not hold", report.problems)
    parts += _section("What could not be judged", report.gaps)
    if report.policy is not None:
        parts += _section(
            "Keys used" + (" (from the bundle)" if report.own_keys else ""), _keys(report)
        )
    if report.code != NOT_PROVED:
        parts += _section(_PROVEN[report.code], proven(report))
        parts += _section("What this cannot mean", not_proven(report))
    parts += _section("To know", report.notes)
    return "\n".join(parts) + "\n"


def _section(title: str, items: Sequence[str]) -> list[str]:
    if not items:
        return []
    more = [f"  - and {len(items) - SHOWN} more"] if len(items) > SHOWN else []
    return ["", f"{title}:", *(_wrapped(item) for item in items[:SHOWN]), *more]


def _wrapped(item: str) -> str:
    return textwrap.fill(
        item,
        width=100,
        initial_indent="  - ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _keys(report: Report) -> list[str]:
    policy = report.policy
    if policy is None:
        return []
    keys = [f"log {shown(key.vkey)}{_valid(key)}" for key in policy.log_keys]
    keys += [f"witness {shown(key.vkey)}" for key in policy.witnesses]
    if report.own_keys:
        keys.append("compare whole lines; the eight digits in the middle alone can be imitated")
    return keys


def _valid(key: Key) -> str:
    if key.first == 0 and key.last is None:
        return ""
    return f" (sizes {key.first} to {'any' if key.last is None else key.last})"


def proven(report: Report) -> list[str]:
    """The statements that hold, if nothing is amiss."""
    head, policy = report.head, report.policy
    if head is None or policy is None:
        return []
    by = ", ".join(shown(key.name) for key in head.signers)
    found = []
    found.append(
        f"The log {shown(head.origin)} had {head.size} records with root {head.root.hex()}; the"
        f" key {by} signed that."
    )
    if head.seen:
        seen = ", ".join(f"{shown(key.name)} at {moment(seconds)}" for key, seconds in head.seen)
        found.append(
            f"{len(head.seen)} of {len(policy.witnesses)} witnesses saw this head ({policy.quorum}"
            f" needed): {seen}."
        )
    if report.older:
        found.append(
            f"{len(report.older)} older heads (sizes {ranges(report.older)}) are beginnings of it:"
            " nothing that they cover was changed, removed or inserted since."
        )
    if report.anchor is not None:
        found.append(f"It continues the head of size {report.anchor} that the policy's owner kept.")
    if report.recomputed:
        found.append(f"The root was computed anew from all {head.size} leaf hashes.")
    if report.records:
        seqs = list(report.records)
        found.append(
            f"{len(seqs)} selected records ({ranges(seqs)}) are in the log at these places, with"
            " the leaf hashes in records/."
        )
    if report.lines:
        count = sum(last - first + 1 for first, last in report.lines)
        found.append(f"lines/ holds, byte for byte, {count} of the records.")
    return found


def not_proven(report: Report) -> list[str]:
    """What a reader might take for proven, and is not."""
    head = report.head
    size = head.size if head is not None else 0
    unproven = [
        "Nothing about truth: a false record that was sealed is the record that was sealed.",
        f"Nothing about records after the first {size}, nor that this head is today's newest.",
    ]
    if not (report.policy and report.policy.quorum):
        unproven.append(
            "No witness was asked for: whoever holds the log's key can sign two histories, and show"
            " you one. Compare the root with the one that others were shown."
        )
    if not report.lines:
        unproven.append(
            "Nothing about what records say: only hashes are enclosed. A line shown to you is the"
            " sealed one if SHA-256(0x00 || line) is its leaf hash."
        )
    if not report.recomputed:
        unproven.append("Records that were not selected were not looked at one by one.")
    claimed = f" The maker says of the log: {report.claimed}." if report.claimed else ""
    unproven.append(
        f"{README}, {VERDICT} and {MANIFEST} are the maker's word; nobody signed them.{claimed}"
    )
    return unproven


def moment(seconds: int) -> str:
    """A witness's time in UTC."""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):
        return f"{seconds} seconds after 1970"


def ranges(numbers: Sequence[int]) -> str:
    """`5, 7-9`, cut when there are many."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    text = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs[:SHOWN])
    return text + (", ..." if len(runs) > SHOWN else "")


def as_json(report: Report) -> dict[str, Any]:
    """The same for programs."""
    head, policy = report.head, report.policy
    good = report.code != NOT_PROVED
    names = {
        PROVED: "proved",
        PROVED_BY_ITS_OWN_KEYS: "proved under the keys in this bundle",
        NOT_PROVED: "not proved",
        COULD_NOT_TELL: "could not tell",
    }
    return {
        "result": names[report.code],
        "exit": report.code,
        "keys": [key.vkey for key in (*policy.log_keys, *policy.witnesses)] if policy else [],
        "keys_from": "bundle" if report.own_keys else "given",
        "origin": head.origin if head else "",
        "size": head.size if head else 0,
        "root": head.root.hex() if head else "",
        "witnesses": [{"name": key.name, "at": moment(at)} for key, at in head.seen]
        if head
        else [],
        "older_heads": report.older if good else [],
        "anchor": report.anchor if good else None,
        "records": {str(seq): leaf.hex() for seq, leaf in report.records.items()} if good else {},
        "lines": [list(each) for each in report.lines] if good else [],
        "recomputed": report.recomputed and good,
        "claimed": report.claimed,
        "files": report.files,
        "problems": report.problems,
        "gaps": report.gaps,
        "notes": report.notes,
        "proven": proven(report) if good else [],
        "not_proven": not_proven(report) if good else [],
    }


def given_policy(trust: str | None, keys: Sequence[str], origin: str | None) -> Policy | None:
    """The policy of the options; None when there are none. NotABundle when they say nonsense."""
    try:
        if trust is not None:
            if keys or origin:
                raise Broken("expected --trust, or --key with --origin, not both")
            with Path(trust).open("rb") as file:
                data = within("--trust", file.read(MAX_POLICY + 1), MAX_POLICY)
            return read_policy(utf8("--trust", data))
        if keys:
            return policy_of_keys(keys, origin)
        if origin:
            raise Broken("--origin needs --key")
    except (Broken, OSError, ValueError) as error:
        raise NotABundle(f"whom to believe: {shown(error, 400)}") from error
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; the exit code."""
    parser = argparse.ArgumentParser(prog="verify.py", description="Verify an auditor bundle.")
    parser.add_argument("bundle", help="a directory or a zip file")
    parser.add_argument("--trust", metavar="FILE", help="a policy that you got elsewhere")
    parser.add_argument(
        "--key", metavar="VKEY", action="append", default=[], help="name+hash+base64"
    )
    parser.add_argument("--origin", metavar="TEXT", help="the log's name, if not the key's name")
    parser.add_argument("--json", metavar="FILE", help="write the result here")
    options = parser.parse_args(arguments)
    try:
        policy = given_policy(options.trust, options.key, options.origin)
        report = verify_bundle(options.bundle, policy)
        if options.json:
            Path(options.json).write_text(json.dumps(as_json(report), indent=2) + "\n", "utf-8")
    except (NotABundle, OSError) as error:
        sys.stderr.write(f"COULD NOT TELL: {shown(error, 600)}\n")
        return COULD_NOT_TELL
    except Exception:  # noqa: BLE001 - a bug in here must not look like exit 1, "not proved"
        traceback.print_exc()
        return COULD_NOT_TELL
    sys.stdout.write(words(report))
    return report.code


if __name__ == "__main__":
    sys.exit(main())
