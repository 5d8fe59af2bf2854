"""Which roles the SQL of a dump names: where it is loaded alone, they have to be there first."""

import re
from collections.abc import Iterator

_NAME = r'"(?:[^"]|"")+"|[A-Za-z_\x80-\U0010ffff][\w$\x80-\U0010ffff]*'
_LIST = rf"(?:{_NAME})(?:\s*,\s*(?:{_NAME}))*"
_STATEMENT = re.compile(
    r"^(?:GRANT|REVOKE|ALTER DEFAULT PRIVILEGES|CREATE POLICY)\b[^;]*", re.MULTILINE
)
_NAMED = re.compile(rf"\b(?:TO|FROM|FOR ROLE)\s+(?:GROUP\s+)?({_LIST})")
_ONE = re.compile(_NAME)
_NOBODYS = frozenset({"public", "current_user", "session_user", "current_role"})
_NAME_BYTES = 63
_MOST = 1000


def roles_named(definitions: str) -> list[str]:
    """Names of roles, each once, at most a thousand; what no role can be called is left out.

    `definitions` is SQL as pg_dump writes it: one statement begins a line. A name too many only
    makes a role too many; one that is missed makes loading fail, which says so.
    """
    return sorted(set(_names(definitions)))[:_MOST]


def _names(definitions: str) -> Iterator[str]:
    for statement in _STATEMENT.findall(definitions):
        for names in _NAMED.findall(statement):
            for name in _ONE.findall(names):
                plain = name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
                fits = 0 < len(plain.encode()) <= _NAME_BYTES and "\x00" not in plain
                if fits and plain not in _NOBODYS and not plain.startswith("pg_"):
                    yield plain
