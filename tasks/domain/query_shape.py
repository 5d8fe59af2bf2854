"""The shape of a query: what it does, without the values that it does it with.

A query's literals are rows: names, answers, keys. They stay in the database. What is left is what
people need to know a query again: its verbs, tables and columns. Where a text was cut inside a
literal, the rest of it is taken for the literal.
"""

import re

_LITERAL = re.compile(
    r"""
      (?P<comment> /\*.*?(?:\*/|\Z) | --[^\r\n]* )
    | (?P<text>  \b[eE]'(?:[^'\\]|''|\\.)*(?:'|\\?\Z)
               | (?:\b[bBxXnN]|\b[uU]&)?'(?:[^']|'')*(?:'|\Z)
               | \$(?P<tag>[A-Za-z_]\w*|)\$.*?(?:\$(?P=tag)\$|\Z) )
    | (?P<number> (?<![\w$.])(?:\d[\w.]*|\.\d[\w.]*) )
    | (?P<name> "(?:[^"]|"")*(?:"|\Z) )
    """,
    re.VERBOSE | re.DOTALL,
)
_MASKS = {"comment": " ", "text": "'?'", "number": "?"}


def query_shape(query: str, limit: int) -> str:
    """The query with every literal masked and every comment gone, on one line, bounded."""
    shape = " ".join(_LITERAL.sub(_masked, query).split())
    return shape if len(shape) <= limit else f"{shape[: limit - 3]}..."


def _masked(found: re.Match[str]) -> str:
    kind = next(name for name in ("comment", "text", "number", "name") if found[name] is not None)
    return _MASKS.get(kind, found[0])
