"""What a database recovery is planned against: looked at, never touched."""

import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tasks.clients import audit_api, postgres, postgres_admin
from tasks.clients.errors import ClientError, Denied, Malformed, NotFound, Transient
from tasks.domain.alertmanager import clean
from tasks.domain.backup_search import LookInside
from tasks.domain.backups import Backup, Kind
from tasks.domain.carry_over import WritersHead
from tasks.domain.recovery_target import Target
from tasks.domain.restore import RestoreNumbers, plan_numbers
from tasks.domain.restore_choice import Choice, choose, first_looked_into
from tasks.domain.restore_estimate import Estimate, estimate, require_room
from tasks.sections.systems import ApiSettings
from tasks.work.log_heads import Head, latest_head
from tasks.work.planned_backup import place_of
from tasks.work.recovery import Extent, Site, observe

_LEAF_BYTES = 32
_NO_SIZE = 1 << 62  # no bigint counts so many
_DOUBT_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Situation:
    """The signed head, the choice, what production holds, and what follows in numbers."""

    head: Head
    choice: Choice
    extent: Extent
    numbers: RestoreNumbers
    needed: Estimate
    observed: dict[str, Any]


def look(
    site: Site, backups: list[Backup], api: ApiSettings, target: Target, inside: LookInside
) -> Situation:
    """Choose and count.

    Raises NotProven when no backup can be proven, or when the head does not continue the anchor;
    Refused when there is not enough room for a restore.
    """
    head = latest_head(site.log, site.trust)
    site.anchored(head)
    size = head.checkpoint.size
    production = _size_of_production(site)

    def with_room(backup: Backup) -> Estimate:
        needed, place = estimate(backup, size, production, backups), tempfile.gettempdir()
        require_room(needed.here_bytes, shutil.disk_usage(place).free, place)
        return needed

    first = first_looked_into(target, backups, size)
    if first is not None:
        with_room(first)  # before anything is fetched
    choice = choose(target, backups, size, inside, datetime.now(UTC))
    needed = with_room(choice.backup)
    heard = hear_writers(api)  # first: what is written meanwhile is in the table, not missing
    extent = observe(site, size)
    numbers = plan_numbers(
        choice.log_size,
        size,
        extent.end,
        extent.tail,
        heard.head.size if heard.head else None,
        table_readable=extent.table_readable,
        database_exists=extent.database_exists,
        doubt=heard.doubt,
    )
    content = choice.contents.digest if choice.contents else ""
    observed = observed_state(site, head, choice.backup, target, choice.replay_to, content)
    return Situation(head, choice, extent, numbers, needed, observed)


def observed_state(
    site: Site,
    head: Head,
    backup: Backup,
    target: Target,
    replay_to: datetime | None = None,
    content: str = "",
) -> dict[str, Any]:
    """What must still be so when the plan is carried out.

    Another database under production's name, another backup, another target or other rules for
    other tables make it another plan. A newer head does not: the log is sealed every hour, and the
    restore goes to the newest head there is; only one that no longer reaches to the backup does.

    `content`: SHA-256 (hex) of an unsigned backup's bytes that were looked into; it is compared
    when they are fetched again.
    """
    with postgres.connect(site.dsn, timeout_seconds=site.timeout_seconds) as admin:
        states = postgres_admin.databases(admin, [site.names.production])
    production = states.get(site.names.production)
    return {
        "production_oid": production.oid if production else None,
        "target": str(target),
        "backup": backup.key,
        "backup_place": place_of(backup),
        "backup_bytes": backup.size,
        "backup_sha256": backup.sha256,
        "backup_identity": backup.identity,
        "backup_content": content,
        "backup_is_signed": backup.kind is Kind.BASE or backup.log_size <= head.checkpoint.size,
        "replay_to": replay_to.isoformat() if replay_to else None,
        "reconciliation_rules": site.rules_digest,
    }


def _size_of_production(site: Site) -> int | None:
    """Bytes of the production database; None when it is gone, or not ours to measure."""
    try:
        with postgres.connect(site.dsn, timeout_seconds=site.timeout_seconds) as admin:
            return postgres_admin.database_bytes(admin, site.names.production)
    except (Denied, NotFound):
        return None


@dataclass(frozen=True, slots=True)
class Heard:
    """What writers say. Without a head: they are silent, or their answer is none (`doubt`)."""

    head: WritersHead | None
    doubt: str = ""


def hear_writers(api: ApiSettings) -> Heard:
    """What the API was told is written (`/api/v1/audit/head`).

    An API that is away, knows no such address, refuses us or answers nonsense keeps nobody from a
    restore: then it is unknown what was acknowledged, and the plan says so.
    """
    try:
        return Heard(_head_in(audit_api.get(api, "audit/head")))
    except (Transient, NotFound):
        return Heard(None)
    except ClientError as error:
        return Heard(None, clean(str(error), _DOUBT_LIMIT))


def ask_writers(api: ApiSettings) -> WritersHead | None:
    """The writers' head; None when they are silent or not to be understood."""
    return hear_writers(api).head


def _head_in(said: dict[str, Any]) -> WritersHead:
    """Raises Malformed for anything but a size and a leaf."""
    size, leaf = said.get("size"), said.get("leaf")
    if type(size) is not int or not 0 <= size < _NO_SIZE or not isinstance(leaf, str):
        raise Malformed(f"expected size and leaf of audit/head, found {str(said)[:100]!r}")
    try:
        link = bytes.fromhex(leaf)
    except ValueError as error:
        raise Malformed("expected a leaf in hex of audit/head, found something else") from error
    if len(link) != _LEAF_BYTES:
        raise Malformed(f"expected a leaf of {_LEAF_BYTES} bytes, found {len(link)}")
    return WritersHead(size, link)
