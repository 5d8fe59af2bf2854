"""Where a database recovery takes place, and how it knows what an earlier attempt has done.

Every attempt looks at the server first. Our mark in a database's comment says whose it is and how
far it came; renaming keeps it, and it changes in one transaction with the names. A database
without our mark is never dropped, renamed or written.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from psycopg import Connection, conninfo
from psycopg.rows import TupleRow

from tasks.clients import postgres
from tasks.clients.errors import Malformed, NotFound
from tasks.clients.postgres_admin import DatabaseState
from tasks.domain.carry_over import WritersHead
from tasks.domain.errors import NotProven, PlanStale
from tasks.domain.ledger import Trust
from tasks.domain.reconciliation_rules import ReconciliationRules, shipped
from tasks.domain.restore import DatabaseNames, database_names
from tasks.sections.systems import DatabaseSettings
from tasks.settings import Settings
from tasks.work import anchors
from tasks.work.log_heads import Head
from tasks.work.log_store import LogStore

TABLE = "public.audit_records"
SPARE = "public.audit_recovery_spare"
"""In the scratch database: rows of the dump that are newer than the signed head."""

Fence = Callable[[], None]
"""Raises LockLost when another holder has the target; called before each change."""

_FORMAT = "rlhf-audit-recovery/v1"
_COLUMNS = """
SELECT count(*) FROM pg_attribute JOIN pg_class c ON c.oid = attrelid AND c.relkind IN ('r', 'p')
 WHERE attrelid = to_regclass(%s) AND NOT attisdropped
   AND (attname, atttypid::regtype::text) IN
       (('seq', 'bigint'), ('record', 'bytea'), ('leaf', 'bytea'))
"""
_EXTENT = """
SELECT count(*), coalesce(max(seq) + 1, 0), count(*) FILTER (WHERE seq >= %s)
  FROM public.audit_records
"""


class Stage(StrEnum):
    """How far a marked database has come."""

    RESTORING = "restoring"  # half loaded; never trusted, made anew
    RESTORED = "restored"  # holds everything signed; the tail may be in it already
    CLOSING = "closing"  # production, while a swap is at work on it
    IN_SERVICE = "in service"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Mark:
    """What the comment of a database of ours says. `signed`, `root` (hex): the head restored to.

    `production` (oid) and `rules`: the living database and the rules that it was restored for.
    `end` is the size of the log when it came into service, `acknowledged` and `leaf` (hex) what
    the writers had been told then. `previous` keeps the comment that production had before;
    `note` is for people.
    """

    incident: str
    stage: Stage
    backup: str = ""
    signed: int = 0
    root: str = ""
    production: int | None = None
    rules: str = ""
    acknowledged: int | None = None
    leaf: str = ""
    end: int | None = None
    outage_seconds: float | None = None
    previous: str = ""
    note: str = ""

    def text(self) -> str:
        """The comment."""
        values = {"format": _FORMAT, "incident": self.incident, "stage": self.stage.value}
        for name in (
            "backup",
            "signed",
            "root",
            "production",
            "rules",
            "acknowledged",
            "leaf",
            "end",
            "outage_seconds",
        ):
            values[name] = getattr(self, name)
        return json.dumps(values | {"previous": self.previous, "note": self.note})

    @classmethod
    def of(cls, comment: str) -> "Mark | None":
        """The mark in a comment, or None: then the database is not ours."""
        try:
            values = json.loads(comment)
        except ValueError:
            return None
        if not isinstance(values, dict) or values.pop("format", None) != _FORMAT:
            return None
        try:
            return replace(cls(**values), stage=Stage(values["stage"]))
        except (TypeError, ValueError, KeyError):
            return None

    def is_at(self, head: Head) -> bool:
        """Whether it was restored to exactly this head, and none that fails stands beside it."""
        signed = head.checkpoint
        return not head.refused and (self.signed, self.root) == (signed.size, signed.root.hex())

    @property
    def writers_head(self) -> WritersHead | None:
        """What the writers were told, as it was when the tail was carried over."""
        if self.acknowledged is None:
            return None
        return WritersHead(self.acknowledged, bytes.fromhex(self.leaf))


@dataclass(frozen=True, slots=True)
class Site:
    """One recovery: whose database, on which server, by whose word.

    `needed` maps roles to the table privileges without which the system cannot work after the
    swap. `anchored` proves a head against the anchor outside (NotProven: rollback or fork).
    `rules` say what becomes of other tables.
    """

    incident: str
    names: DatabaseNames
    dsn: str = field(repr=False)
    owner: str
    needed: Mapping[str, tuple[str, ...]]
    log: LogStore
    trust: Trust
    anchored: Callable[[Head], None]
    binaries: Path | None = None
    timeout_seconds: float = 5.0
    rules: ReconciliationRules = field(default_factory=shipped)
    longest_outage_seconds: float = 30.0

    def dsn_of(self, database: str) -> str:
        """The recovery role's DSN for one of the databases."""
        return postgres.dsn_of(self.dsn, database)

    @property
    def rules_digest(self) -> str:
        """What tells these rules from others: a restored database is for one set of them."""
        return hashlib.sha256(repr(self.rules).encode()).hexdigest()[:16]

    def require_planned(self, mark: Mark, production: DatabaseState | None) -> None:
        """Raises PlanStale unless the scratch is for this living database and for these rules.

        The plan that was approved names both; whoever changed them since changed the plan.
        """
        oid = production.oid if production is not None else None
        if mark.production != oid:
            raise PlanStale(
                f"expected {self.names.production} to be database {mark.production or 'none'}, as "
                f"when {self.names.scratch} was restored, found {oid or 'none'}: somebody put "
                "another one there or took it away; production is untouched, make a new plan"
            )
        if mark.rules != self.rules_digest:
            raise PlanStale(
                f"expected the rules for other tables that {self.names.scratch} was restored "
                "under, found others: they were changed since; make a new plan"
            )

    def is_ours(self, state: DatabaseState, *stages: Stage) -> Mark | None:
        """The database's mark, if it is of this incident and at one of the stages (or any)."""
        mark = Mark.of(state.comment)
        if mark is None or mark.incident != self.incident:
            return None
        return mark if not stages or mark.stage in stages else None


@dataclass(frozen=True, slots=True)
class Extent:
    """What the production table holds now, in records; without a readable table all is zero.

    `end` is the last seq + 1, `tail` the number of rows at or after the signed head.
    """

    database_exists: bool
    table_readable: bool
    records: int
    end: int
    tail: int

    def as_json(self) -> dict[str, Any]:
        """JSON-able: what a plan is made against."""
        return {
            "database_exists": self.database_exists,
            "table_readable": self.table_readable,
            "records": self.records,
            "end": self.end,
            "tail": self.tail,
        }


def site_of(incident: str, log: LogStore, settings: Settings) -> Site:
    """The site of an incident's recovery, from the settings."""
    database = settings.database
    trust = settings.ledger.read_trust()
    return Site(
        incident=incident,
        names=database_names(database.name, incident),
        dsn=database.recovery_dsn.get_secret_value(),
        owner=database.owner,
        needed=needed_privileges(database),
        log=log,
        trust=trust,
        anchored=lambda head: anchors.check(log, head, trust),
        binaries=database.client_binaries,
        timeout_seconds=database.timeout_seconds,
        rules=database.read_reconciliation_rules(),
        longest_outage_seconds=database.longest_outage_seconds,
    )


def needed_privileges(database: DatabaseSettings) -> dict[str, tuple[str, ...]]:
    """What roles must be allowed on the audit table, or the system cannot work with it."""
    reader = conninfo.conninfo_to_dict(database.reader_dsn.get_secret_value()).get("user")
    readers = {str(reader): ("SELECT",)} if reader else {}
    return readers | dict.fromkeys(database.writers, ("SELECT", "INSERT"))


def has_readable_table(connection: Connection[TupleRow], table: str = TABLE) -> bool:
    """Whether seq, record and leaf are there, in the types that we read, and in a real table.

    A view of its name would run its author's functions as us.
    """
    row = connection.execute(_COLUMNS, (table,)).fetchone()
    return row is not None and row[0] == 3  # noqa: PLR2004  the three columns


def observe(site: Site, signed: int) -> Extent:
    """Look at production; changes nothing. `signed` is the size of the signed head.

    Raises NotProven when the table cannot be read: code of somebody's runs by reading it.
    """
    try:
        with postgres.connect(
            site.dsn_of(site.names.production),
            timeout_seconds=site.timeout_seconds,
            autocommit=False,
        ) as connection:
            postgres.only_read(connection)
            if not has_readable_table(connection):
                return Extent(True, False, 0, 0, 0)  # noqa: FBT003  read with the field names
            row = connection.execute(_EXTENT, (signed,)).fetchone()
            records, end, tail = row if row is not None else (0, 0, 0)
            return Extent(True, True, records, end, tail)  # noqa: FBT003
    except NotFound:
        return Extent(False, False, 0, 0, 0)  # noqa: FBT003
    except Malformed as error:
        raise NotProven(
            f"expected to read {TABLE} of the living database, found that it cannot be: {error}; "
            "drop the index or other code in it that fails, by hand, then try again"
        ) from error
