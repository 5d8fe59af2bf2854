"""What a rebuild is about to do, and how it found the log: signed before anything is put back.

An attempt that is killed has mended a part of what it saw. The next one sees less damage, and of a
forged tree perhaps nothing any more. So how the log was found is stated from here, and not from a
second look.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from tasks.domain.errors import BadInput
from tasks.domain.ledger.checkpoints import Checkpoint
from tasks.domain.log_rebuild import Consistency, Damaged, Range, StoredTree, Survey


@dataclass(frozen=True, slots=True)
class Intended:
    """An object to put back. `kept`: version of the damaged one, or of the marker that hides it."""

    why: str
    source: str
    kept: str


@dataclass(frozen=True, slots=True)
class Intent:
    """The tree that was found beside the signed one, as in a `Survey`, and the objects by path."""

    head: Checkpoint
    found: StoredTree
    consistency: Consistency
    proof: tuple[bytes, ...]
    lost: tuple[Range, ...]
    objects: Mapping[str, Intended]

    @classmethod
    def of(cls, found: Survey, due: Mapping[str, tuple[Damaged, str]]) -> "Intent":
        """Of this survey; `due`: what will be put back, each with the version that stays."""
        objects = {
            path: Intended(one.why.value, one.source, kept) for path, (one, kept) in due.items()
        }
        return cls(found.head, found.found, found.consistency, found.proof, found.lost, objects)

    def stated(self, now: Survey) -> Survey:
        """How it was found at first; what is lost in the end is what is lost now."""
        return replace(
            now,
            head=self.head,
            found=self.found,
            consistency=self.consistency,
            proof=self.proof,
        )

    def as_json(self) -> dict[str, Any]:
        """JSON-able; `from_json` is its inverse."""
        return {
            "origin": self.head.origin,
            "head": {"size": self.head.size, "root": self.head.root.hex()},
            "old_tree": self.found.as_json(),
            "consistency": self.consistency.value,
            "consistency_proof": [each.hex() for each in self.proof],
            "lost": [list(each) for each in self.lost],
            "objects": {path: asdict(one) for path, one in self.objects.items()},
        }

    @classmethod
    def from_json(cls, value: object) -> "Intent":
        """Raises BadInput for what `as_json` does not write."""
        try:
            if not isinstance(value, dict):
                raise TypeError("no object")  # noqa: TRY301  one message for all of them
            head, found = value["head"], value["old_tree"]
            return cls(
                Checkpoint(str(value["origin"]), head["size"], bytes.fromhex(head["root"])),
                StoredTree(int(found["size"]), bytes.fromhex(found["root"])),
                Consistency(value["consistency"]),
                tuple(bytes.fromhex(each) for each in value["consistency_proof"]),
                tuple((int(first), int(end)) for first, end in value["lost"]),
                {path: Intended(**one) for path, one in value["objects"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadInput(f"expected the intent of a rebuild, found {error!r}") from error
