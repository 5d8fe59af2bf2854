"""What the sealer signs about a rebuild: in words no more than what is so, and as data."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tasks.domain.errors import BadInput
from tasks.domain.ledger.checkpoints import Checkpoint
from tasks.domain.log_rebuild import (
    MAX_RUNS,
    Consistency,
    Left,
    Range,
    StoredTree,
    Survey,
    affected,
    ranges_in_words,
    runs_of,
)

_NAMED = 500
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class PutBack:
    """An object that was put back. `kept`: version of the old one, or of the marker that hid it.

    `path` is where it lies now: beside (`rebuilt/...`) where nothing keeps what is written over.
    """

    path: str
    original: str
    why: str
    source: str
    sha256: str
    size: int
    kept: str = ""


STATEMENT = "rlhf-audit-rebuild/v1"


def statement(
    survey: Survey,
    rebuilt: StoredTree,
    put_back: Sequence[PutBack],
    left: Sequence[Left],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """What the sealer says it has done; `rebuilt`: the tree that the leaf tiles give now.

    `lost`: ranges of records, each from its first up to, and without, its end.
    """
    return {
        "version": STATEMENT,
        **about,
        "origin": survey.head.origin,
        "head": {"size": survey.head.size, "root": survey.head.root.hex()},
        "old_tree": survey.found.as_json(),
        "new_tree": rebuilt.as_json(),
        "consistency": survey.consistency.value,
        "consistency_proof": [each.hex() for each in survey.proof],
        "says": _says(survey, rebuilt, put_back, left),
        "put_back": [asdict(each) for each in put_back],
        "lost": [list(each) for each in survey.lost],
        "left": [asdict(each) for each in left],
    }


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement, read: `put_back` and `aside` are original paths, `left` a number."""

    name: str
    incident: str
    head: Checkpoint
    old: StoredTree
    rebuilt: StoredTree
    consistency: str
    put_back: tuple[str, ...]
    aside: tuple[str, ...]
    left: int
    lost: tuple[Range, ...]

    @classmethod
    def read(cls, value: Any) -> "Statement":  # noqa: ANN401  JSON
        """KeyError, TypeError or ValueError for what `statement` does not write."""
        old, rebuilt = (
            StoredTree(int(value[name]["size"]), bytes.fromhex(value[name]["root"]))
            for name in ("old_tree", "new_tree")
        )
        head = value["head"]
        objects = [(str(one["path"]), str(one["original"])) for one in value["put_back"]]
        return cls(
            str(value["name"]),
            str(value["incident"]),
            Checkpoint(str(value["origin"]), head["size"], bytes.fromhex(head["root"])),
            old,
            rebuilt,
            str(value["consistency"])[:80],
            tuple(original for _, original in objects),
            tuple(original for path, original in objects if path != original),
            len(value["left"]),
            tuple((int(first), int(end)) for first, end in value["lost"]),
        )

    def in_short(self) -> dict[str, Any]:
        """JSON-able and bounded, for the journal; ranges are half-open."""
        return {
            "put_back": len(self.put_back),
            "left": self.left,
            "lost_records": sum(end - first for first, end in self.lost),
            "size": self.head.size,
            "root": self.head.root.hex(),
            "consistency": self.consistency,
            "old_tree": self.old.as_json(),
            "new_tree": self.rebuilt.as_json(),
            "lost_ranges": [list(each) for each in self.lost[:_NAMED]],
            "affected": [list(each) for each in affected(self.put_back, self.head.size)][:_NAMED],
            "beside": f"rebuilt/{self.name}/" if self.aside else "",
            "aside": runs_of(self.aside)[:MAX_RUNS],
        }


def _says(
    survey: Survey, rebuilt: StoredTree, put_back: Sequence[PutBack], left: Sequence[Left]
) -> str:
    """The statement in words, no more than what is so."""
    aside = sum(each.path != each.original for each in put_back)
    said = []
    if survey.consistency is Consistency.INCONSISTENT:
        said.append(
            "The tiles that were found held another tree than the one that was signed; they are "
            "kept."
        )
    head = survey.head
    is_whole = (rebuilt.size, rebuilt.root) == (head.size, head.root)
    if is_whole and not (aside or left or survey.lost):
        said.append("The signed tree is as it was signed.")
    else:
        said.append(
            f"{len(put_back) - aside} objects were put back in their place. {aside} lie beside "
            f"what is damaged. {len(left)} are left for a person. Lost: "
            f"{ranges_in_words(survey.lost)}."
        )
        said.append(
            "The leaf tiles give the signed root."
            if is_whole
            else f"The leaf tiles do not give the signed root yet: {rebuilt.size} of {head.size} "
            "leaves can be read."
        )
    return " ".join([*said, "Nothing was signed anew."])


def signed_text(origin: str, kind: str, document: bytes) -> str:
    """What the sealer signs of an intent or a statement. No checkpoint parser takes it for a head.

    Its lines: the log's origin with `/rebuild`, the format and the kind, the document's SHA-256.
    """
    return f"{origin}/rebuild\n{STATEMENT} {kind}\nsha256 {hashlib.sha256(document).hexdigest()}\n"


def digest_in(text: str, origin: str, kind: str) -> str:
    """The SHA-256 (hex) that such a text names; BadInput when it is another text."""
    lines = text.split("\n")
    head, _, digest = lines[2].partition(" ") if len(lines) == 4 else ("", "", "")  # noqa: PLR2004
    if lines[:2] != [f"{origin}/rebuild", f"{STATEMENT} {kind}"] or head != "sha256":
        raise BadInput(f"expected the {kind} of a rebuild of {origin}, found another text")
    if not _SHA256.fullmatch(digest):
        raise BadInput("expected a SHA-256 in the third line")
    return digest
