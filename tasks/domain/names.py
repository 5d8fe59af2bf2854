"""Names of people, of which no two can be taken for each other.

Two distinct approvers, and nobody's own plan: both rest on names. So a name is reduced to what the
eye sees of it, in plain Latin letters: without case, width, accents and ligatures, and with the
characters that look alike made one. Names whose reduction is equal are never two people. What
cannot be reduced (other scripts, invisible characters, symbols) is no name here: a Cyrillic `a` or
a zero-width space can make no second Anna. People of other scripts write their names as in their
e-mail address.
"""

import re
import unicodedata
from dataclasses import dataclass

from tasks.domain.errors import BadInput
from tasks.domain.facts import RUNBOOK

NAME_LIMIT = 80
_POLICY = "policy"  # decides automatic remedies
# Latin letters that Unicode does not decompose, by what a reader takes them for.
_LETTERS = str.maketrans(
    {
        "\u0131": "i", "ø": "o", "đ": "d", "ð": "d", "ħ": "h", "ł": "l", "ŧ": "t", "ŋ": "n",
        "ĸ": "k", "æ": "ae", "œ": "oe", "þ": "th", "ə": "e",
    }
)  # fmt: skip
# Capital I is a small l in many fonts.
_ALIKE = str.maketrans({"0": "o", "1": "l", "i": "l", ",": "."})
_REDUCED = re.compile(r"[a-z0-9 .,_@+'()-]+")
_RAW_LIMIT = 4 * NAME_LIMIT  # compatibility forms may shrink; nothing longer is looked at


@dataclass(frozen=True, slots=True)
class Name:
    """A person's name: as it is shown, as it was meant, and what it looks like.

    Equal `folded`: the same name. Equal `looks` alone: another name that could be mistaken for it.
    """

    shown: str
    folded: str
    looks: str

    @classmethod
    def parse(cls, text: str) -> "Name":
        """Raises BadInput when the text is no name that people should bear."""
        shown = unicodedata.normalize("NFKC", text[: _RAW_LIMIT + 1])
        if not shown.strip() or len(shown) > NAME_LIMIT or len(text) > _RAW_LIMIT:
            raise _unfit(text, f"1 to {NAME_LIMIT} characters")
        if not shown.isprintable() or shown != " ".join(shown.split()):
            raise _unfit(text, "printable characters with single spaces between words")
        if any(unicodedata.category(c).startswith("M") for c in shown):  # some are invisible
            raise _unfit(text, "letters whose accents are a part of them")
        folded = _folded(shown)
        reduced = _reduced(folded)
        if not _REDUCED.fullmatch(reduced) or not any(c.isalnum() for c in reduced):
            raise _unfit(text, "Latin letters, digits and . , _ @ + ' ( ) -")
        looks = reduced.translate(_ALIKE)
        if looks in _RESERVED:
            raise BadInput(
                f"expected a person's name, found {shown!r}, which is, or looks like, one of the "
                f"runbook's own: {RUNBOOK}, {_POLICY}"
            )
        return cls(shown, folded, looks)


def is_same_person(one: str, other: str) -> bool:
    """Whether two texts name one person, or could be taken to; any text may be asked about."""
    return one == other or appearance(one) == appearance(other)


def appearance(text: str) -> str:
    """What is left of any text when all that the eye may miss is gone; of a name, its `looks`."""
    return _reduced(_folded(unicodedata.normalize("NFKC", text))).translate(_ALIKE)


def _folded(text: str) -> str:
    """Without case and compatibility forms; folding again changes nothing."""
    folded = text
    for _ in range(3):  # Unicode's own definition: fold, normalise, fold, normalise
        folded = unicodedata.normalize("NFKC", folded.casefold())
    return folded


def _reduced(folded: str) -> str:
    bare = unicodedata.normalize("NFKD", folded.translate(_LETTERS))
    return "".join(c for c in bare if unicodedata.category(c) != "Mn").translate(_LETTERS)


def _unfit(text: str, expected: str) -> BadInput:
    return BadInput(f"expected a name of {expected}, found {text[:100]!r}")


_RESERVED = frozenset(word.translate(_ALIKE) for word in (RUNBOOK, _POLICY))
