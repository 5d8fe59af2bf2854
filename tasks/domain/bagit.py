r"""The texts of a BagIt bag (RFC 8493): what lies in it, by SHA-256, and what it is about.

    bagit.txt                  the declaration
    bag-info.txt               LABEL: VALUE, a line each
    manifest-sha256.txt        DIGEST SP SP PATH of every file below data/
    tagmanifest-sha256.txt     the same of the tag files, itself excepted

Whoever reads one reads a stranger's text: each line is read strictly, and a path never leads out of
the bag.
"""

import re
from collections.abc import Iterable, Mapping

from tasks.domain.errors import BadInput

DECLARATION = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
BAGIT, INFO = "bagit.txt", "bag-info.txt"
MANIFEST, TAG_MANIFEST = "manifest-sha256.txt", "tagmanifest-sha256.txt"
PAYLOAD = "data/"

MOST_BYTES = 16 * 1024 * 1024
"""Of a manifest or another tag file."""

_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^\r\n]+)")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,79}")
_ESCAPES = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_ESCAPED = re.compile(r"%(25|0[dD]|0[aA])")
_SHOWN = 120
_BREAKS = re.compile(r"[\r\n]")


def manifest_text(digests: Mapping[str, str]) -> str:
    """A manifest of paths and their SHA-256 in hex, by path. BadInput for a path that leads out."""
    return "".join(
        f"{digest}  {_written(checked_path(path))}\n" for path, digest in sorted(digests.items())
    )


def read_manifest(text: str) -> dict[str, str]:
    """SHA-256 in hex by path. BadInput, with the line, for what is no manifest."""
    found: dict[str, str] = {}
    for number, line in enumerate(_lines(text), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise BadInput(f"line {number}: expected a SHA-256 and a path, found {line[:_SHOWN]!a}")
        path = checked_path(_ESCAPED.sub(_meant, match[2]))
        if path in found:
            raise BadInput(f"line {number}: {path[:_SHOWN]!a} is listed twice")
        found[path] = match[1]
    return found


def info_text(fields: Iterable[tuple[str, str]]) -> str:
    """`bag-info.txt`, in the order given. BadInput for a value of more than one line."""
    lines = []
    for label, value in fields:
        if _LABEL.fullmatch(label) is None or _BREAKS.search(value):
            raise BadInput(f"expected a label and a value of one line, found {label[:_SHOWN]!a}")
        lines.append(f"{label}: {value}\n")
    return "".join(lines)


def read_info(text: str) -> list[tuple[str, str]]:
    """Labels and values in their order; a line that begins with a space goes on with the value."""
    found: list[tuple[str, str]] = []
    for number, line in enumerate(_lines(text), 1):
        label, colon, value = line.partition(": ")
        if line[:1] in {" ", "\t"} and found:
            label, value = found[-1][0], f"{found[-1][1]} {line.strip()}"
            found[-1] = (label, value)
        elif colon and _LABEL.fullmatch(label):
            found.append((label, value))
        else:
            raise BadInput(f"line {number}: expected LABEL: VALUE, found {line[:_SHOWN]!a}")
    return found


def payload_oxum(sizes: Iterable[int]) -> str:
    """`Payload-Oxum`: octets and number of files below data/."""
    known = list(sizes)
    return f"{sum(known)}.{len(known)}"


def checked_path(path: str) -> str:
    """The path, if it is one inside a bag; BadInput else."""
    parts = path.split("/")
    if not path or "\0" in path or path[0] in "/~" or {"", ".", ".."} & set(parts):
        raise BadInput(f"expected a path inside the bag, found {path[:_SHOWN]!a}")
    return path


def _lines(text: str) -> list[str]:
    if not text:
        return []
    if not text.endswith("\n"):
        raise BadInput("expected a last line with its end, found one that is cut off")
    return text[:-1].split("\n")


def _written(path: str) -> str:
    return "".join(_ESCAPES.get(mark, mark) for mark in path)


def _meant(found: re.Match[str]) -> str:
    return chr(int(found[1], 16))
