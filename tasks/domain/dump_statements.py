"""What to do with each statement of a dump: a list of what pg_dump and pg_dumpall write.

Nothing here is a wall: statements run as a role that may neither run programs nor read files, in an
instance that is thrown away. The list keeps what is the server's and not the database's out of it
(roles, tablespaces, owners, settings), and notices a file that no dump program has written.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from tasks.domain.errors import BadInput


class Action(StrEnum):
    """What the loader does with a statement."""

    LOAD = "load"  # without it the dump is not whole: its error ends the load
    TRY = "try"  # code and rights: its error is noted
    DROP = "leave out"  # nothing that anybody misses
    NOTE = "leave out, and say so"
    REFUSE = "refuse"  # no dump program writes this


@dataclass(frozen=True, slots=True)
class Judgement:
    """The action, and for NOTE and REFUSE what the statement is, in words."""

    action: Action
    what: str = ""


EXTENSIONS = frozenset(
    {
        *("btree_gin", "btree_gist", "citext", "cube", "fuzzystrmatch", "hstore", "intarray"),
        *("isn", "lo", "ltree", "pg_trgm", "pgcrypto", "plpgsql", "seg", "tablefunc", "tcn"),
        *("tsm_system_rows", "tsm_system_time", "unaccent", "uuid-ossp"),
    }
)
"""What PostgreSQL itself marks as trusted: no superuser is needed, nothing outside is reached."""

_SETTINGS = ("client_encoding", "xmloption", "check_function_bodies", "search_path", "row_security")
_CALLS = (
    r"set_config\('search_path', '[^']*', false\)",
    r"setval\('(?:[^']|'')*'(?:::regclass)?, -?\d+, (?:true|false)\)",
    r"lo_create\('?\d+'?\)",
    r"lo_open\('?\d+'?, \d+\)",
    r"lowrite\(0, '(?:\\)?[\\x0-9a-fA-F]*'\)",
    r"lo_close\(0\)",
)
_NAME = r'(?:"(?:[^"]|"")+"|[A-Za-z_][\w$]*)'

_RULES: tuple[tuple[str, Action, str], ...] = (
    (
        r"SET\s+standard_conforming_strings\b(?!\s*(?:=|TO)\s*'?on'?\Z)",
        Action.REFUSE,
        "backslashes as escapes in every string",
    ),
    (rf"SET\s+(?:{'|'.join(_SETTINGS)})\s*(?:=|TO)\s", Action.LOAD, ""),
    (r"(?:SET|RESET)\s", Action.DROP, ""),
    (rf"SELECT\s+(?:pg_catalog\.)?(?:{'|'.join(_CALLS)})\Z", Action.LOAD, ""),
    (r"SELECT \* FROM pg_catalog\.pg_restore_(?:relation|attribute)_stats\(", Action.DROP, ""),
    (r"(?:BEGIN|COMMIT|START\s+TRANSACTION)\Z", Action.LOAD, ""),
    (r"COPY\s.*\sFROM\s+STDIN\Z", Action.LOAD, ""),
    (r"INSERT\s+INTO\s", Action.LOAD, ""),
    (r"DROP\s", Action.DROP, ""),  # --clean; there is nothing yet
    (r"ALTER\s+TABLE\s.*\sDROP\s+(?:CONSTRAINT|DEFAULT|EXPRESSION)\s", Action.DROP, ""),
    (r"ALTER\s.*\sOWNER\s+TO\s", Action.DROP, ""),  # everything is the owner role's
    (r"ALTER\s.*\sSET\s+TABLESPACE\s", Action.DROP, ""),
    (r"(?:CREATE|ALTER)\s+(?:ROLE|USER|GROUP)\s(?!MAPPING)", Action.NOTE, "a role"),
    (r"(?:CREATE|ALTER)\s+TABLESPACE\s", Action.NOTE, "a tablespace"),
    (r"(?:CREATE|ALTER)\s+DATABASE\s", Action.NOTE, "a database's own settings"),
    (r"(?:GRANT|REVOKE)\s(?!.*\sON\s).*\s(?:TO|FROM)\s", Action.NOTE, "membership in a role"),
    (r"(?:GRANT|REVOKE)\s.*\sON\s+(?:PARAMETER|DATABASE|TABLESPACE)\s", Action.NOTE, "a grant"),
    (r"(?:GRANT|REVOKE)\s", Action.TRY, "a grant"),
    (r"(?:CREATE|ALTER)\s+EVENT\s+TRIGGER\s", Action.NOTE, "an event trigger"),
    (r"(?:CREATE|ALTER)\s+PUBLICATION\s", Action.NOTE, "a publication"),
    (r"(?:CREATE|ALTER)\s+SUBSCRIPTION\s", Action.NOTE, "a subscription"),
    (r"(?:CREATE|ALTER)\s+(?:SERVER|FOREIGN|USER\s+MAPPING)\b", Action.NOTE, "a foreign server"),
    (
        r"(?:CREATE|ALTER)\s+(?:OR\s+REPLACE\s+)?(?:TRUSTED\s+)?(?:PROCEDURAL\s+)?LANGUAGE\s",
        Action.NOTE,
        "a language",
    ),
    (r"(?:CREATE|ALTER)\s+(?:ACCESS\s+METHOD|TRANSFORM)\s", Action.NOTE, "an access method"),
    (r"ALTER\s+DEFAULT\s+PRIVILEGES\s", Action.NOTE, "default privileges"),
    (r"SECURITY\s+LABEL\s", Action.NOTE, "a security label"),
    (r"REFRESH\s+MATERIALIZED\s+VIEW\s", Action.NOTE, "a materialized view's content"),
    (r"COMMENT\s+ON\s+(?:EXTENSION|DATABASE|ROLE|TABLESPACE)\s", Action.DROP, ""),
    (r"COMMENT\s+ON\s", Action.TRY, "a comment"),
    (r"CREATE\s+(?:UNLOGGED\s+)?TABLE\s", Action.LOAD, ""),
    (r"CREATE\s+(?:UNIQUE\s+)?INDEX\s", Action.LOAD, ""),
    (r"CREATE\s+(?:UNLOGGED\s+)?SEQUENCE\s", Action.LOAD, ""),
    (r"CREATE\s+(?:SCHEMA|TYPE|DOMAIN|COLLATION)\s", Action.LOAD, ""),
    (
        r"ALTER\s+(?:TABLE|INDEX|SEQUENCE|TYPE|DOMAIN)\s.*\s(?:ENABLE|DISABLE|FORCE)\s",
        Action.TRY,
        "a switch of rules, triggers or row security",
    ),
    (r"ALTER\s+(?:TABLE|INDEX|SEQUENCE|TYPE|DOMAIN|SCHEMA|COLLATION)\s", Action.LOAD, ""),
    (r"CREATE\s+(?:OR\s+REPLACE\s+)?(?:FUNCTION|PROCEDURE|AGGREGATE)\s", Action.TRY, "a function"),
    (r"CREATE\s+(?:OR\s+REPLACE\s+)?(?:CONSTRAINT\s+)?TRIGGER\s", Action.TRY, "a trigger"),
    (r"CREATE\s+(?:OR\s+REPLACE\s+)?RULE\s", Action.TRY, "a rule"),
    (r"CREATE\s+POLICY\s", Action.TRY, "a row policy"),
    (
        r"CREATE\s+(?:OR\s+REPLACE\s+)?(?:RECURSIVE\s+|MATERIALIZED\s+)?VIEW\s",
        Action.TRY,
        "a view",
    ),
    (
        r"(?:CREATE|ALTER)\s+(?:OPERATOR|CAST|CONVERSION|TEXT\s+SEARCH|STATISTICS)\b",
        Action.TRY,
        "an operator, cast or search configuration",
    ),
    (
        r"ALTER\s+(?:FUNCTION|PROCEDURE|ROUTINE|AGGREGATE|VIEW|MATERIALIZED\s+VIEW|TRIGGER)\s",
        Action.TRY,
        "a function or view",
    ),
)
_COMPILED = tuple((re.compile(p, re.IGNORECASE | re.DOTALL), a, w) for p, a, w in _RULES)
_EXTENSION = re.compile(
    rf"(CREATE|ALTER)\s+EXTENSION\s+(?:IF\s+NOT\s+EXISTS\s+)?({_NAME})", re.IGNORECASE
)
_CONNECT = re.compile(
    rf"\\connect\s+(?:-reuse-previous=on\s+\"dbname='((?:[^'\\]|\\.)*)'\"|({_NAME}))\Z"
)
_ALLOWED = re.compile(r"\\(?:un)?restrict\s+[A-Za-z0-9]{1,128}\Z")
_HEAD, _TAIL = 4000, 1000  # bytes that the kind of a statement is told by
_VALUES = re.compile(rb"\bVALUES\b", re.IGNORECASE)
_EXCERPT = 60


def judge(statement: bytes) -> Judgement:
    """What to do with a statement (without comments and semicolon, as `sql_script` cuts it)."""
    told_by = statement if statement[:6].upper() == b"SELECT" else _head_of(statement)
    text = told_by.decode("utf-8", errors="replace")
    if found := _EXTENSION.match(text):
        name = _unquoted(found[2])
        what = f"the extension {name[:63]!r}"
        listed = found[1].upper() == "CREATE" and name in EXTENSIONS
        return Judgement(Action.TRY if listed else Action.NOTE, what)
    for pattern, action, what in _COMPILED:
        if pattern.match(text):
            return Judgement(action, what)
    return Judgement(Action.REFUSE, excerpt(statement))


def connected(command: bytes) -> str | None:
    """The database that a backslash command changes to; None for those that change nothing.

    Raises BadInput for every command that no dump program writes: psql would carry it out.
    """
    text = command.decode("utf-8", errors="replace")
    if _ALLOWED.match(text):
        return None
    found = _CONNECT.match(text)
    if found and not found[2]:
        return re.sub(r"\\(.)", r"\1", found[1])
    if found and "=" not in found[2]:  # else psql takes it for a whole connection string
        return _unquoted(found[2])
    raise BadInput(
        f"expected no command for psql but those of pg_dump, found {text[:_EXCERPT]!r}: the file "
        "was altered or is no dump; nothing of it was run"
    )


def _head_of(statement: bytes) -> bytes:
    """Its beginning; of a COPY with many columns its end too, where it says what it reads."""
    head = statement[:_HEAD]
    if len(statement) > _HEAD and statement[:5].upper() == b"COPY ":
        head += b" " + statement[max(_HEAD, len(statement) - _TAIL) :]
    return head


def excerpt(statement: bytes) -> str:
    """The statement's beginning, printable and on one line; of an INSERT no value of a row."""
    begin = _VALUES.split(statement[: _EXCERPT * 2], maxsplit=1)[0]
    text = " ".join(begin.decode("utf-8", errors="replace").split())
    return "".join(each if each.isprintable() else "?" for each in text)[:_EXCERPT]


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
