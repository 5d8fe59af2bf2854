"""Text from outside, made harmless to the reader before any medium escapes it.

Escaping for HTML or typst keeps text from becoming markup; it does not keep it from lying to the
eye. A right-to-left override turns `gpj.exe` around, a zero-width space hides a difference, ten
thousand combining marks cover the line above. So every value that people will read passes here
once, and is shown as what it is.
"""

import unicodedata

LIMIT = 400
"""Characters of one value that a report shows; the journal keeps the whole."""

_MARKS_IN_A_ROW = 2  # enough for every living script's stacked accents that we know of
_SHOWN_AS_SPACE = frozenset("\t\n\r\u2028\u2029\x0b\x0c\x85")
# Format characters (bidi controls, zero-width, tags), controls, lone surrogates (which no file can
# even be encoded with), private use and unassigned: none of them has a glyph that can be trusted.
_NAMED_BY_NUMBER = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def visible(value: object, limit: int = LIMIT) -> str:
    """`value` as one line of text in which nothing is hidden, cut with a marker after `limit`.

    Controls, bidi marks and characters without a glyph become `[U+202E]`, line breaks a space;
    the cut says how many characters are missing. The result may still hold `<`, `#` or quotes:
    the medium's own escaping is for those.
    """
    text = value if isinstance(value, str) else str(value)
    cut = len(text) - limit
    if cut > 0:
        text = text[:limit]
    if not (text.isascii() and text.isprintable()):
        text = _neutral(text)
    return f"{text}… (+{cut} characters)" if cut > 0 else text


def _neutral(text: str) -> str:
    shown: list[str] = []
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        if character in _SHOWN_AS_SPACE:
            shown.append(" ")
        elif category in _NAMED_BY_NUMBER or marks > _MARKS_IN_A_ROW:
            shown.append(f"[U+{ord(character):04X}]")
        else:
            shown.append(character)
    return "".join(shown)


def short_hash(value: object, length: int = 12) -> str:
    """The beginning of a hash, marked as cut; anything that is no hash is shown as `visible`."""
    text = visible(value, 80)
    return text if len(text) <= length else f"{text[:length]}…"
