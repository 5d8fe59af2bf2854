"""What a database recovery is planned against: looked at, never touched."""

from dataclasses import dataclass
from typing import Any

from tasks.clients import audit_api, postgres, postgres_admin
from tasks.clients.errors import Malformed, NotFound, Transient
from tasks.domain.backups import Backup
from tasks.domain.carry_over import WritersHead
from tasks.domain.restore import RestoreNumbers, choose_backup, plan_numbers
from tasks.settings import ApiSettings
from tasks.work.log_heads import Head, latest_head
from tasks.work.recovery import Extent, Site, observe

_LEAF_BYTES = 32


@dataclass(frozen=True, slots=True)
class Situation:
    """The signed head, the chosen backup, what production holds, and what follows in numbers."""

    head: Head
    backup: Backup
    extent: Extent
    numbers: RestoreNumbers
    observed: dict[str, Any]


def look(site: Site, backups: list[Backup], api: ApiSettings) -> Situation:
    """Choose and count.

    Raises NotProven when no backup can be proven, or when the head does not continue the anchor.
    """
    head = latest_head(site.log, site.trust)
    site.anchored(head)
    size = head.checkpoint.size
    backup = choose_backup(backups, size)
    writers = ask_writers(api)  # first: what is written meanwhile is in the table, not missing
    extent = observe(site, size)
    numbers = plan_numbers(
        backup,
        size,
        extent.end,
        extent.tail,
        writers.size if writers else None,
        table_readable=extent.table_readable,
    )
    return Situation(head, backup, extent, numbers, observed_state(site, head, backup))


def observed_state(site: Site, head: Head, backup: Backup) -> dict[str, Any]:
    """What must still be so when the plan is carried out.

    Another database under production's name or another backup makes it another plan. A newer head
    does not: the log is sealed every hour, and the restore goes to the newest head there is; only
    one that no longer reaches to the backup does.
    """
    with postgres.connect(site.dsn, timeout_seconds=site.timeout_seconds) as admin:
        states = postgres_admin.databases(admin, [site.names.production])
    production = states.get(site.names.production)
    return {
        "production_oid": production.oid if production else None,
        "backup": backup.key,
        "backup_sha256": backup.sha256,
        "backup_is_signed": backup.log_size <= head.checkpoint.size,
    }


def ask_writers(api: ApiSettings) -> WritersHead | None:
    """What the API was told is written (`/api/v1/audit/head`); None when it cannot be asked.

    That is when it does not answer, or has no such address. Raises Malformed when it answers
    nonsense: then nobody knows what was acknowledged.
    """
    try:
        said = audit_api.get(api, "audit/head")
    except (Transient, NotFound):
        return None
    size, leaf = said.get("size"), said.get("leaf")
    if type(size) is not int or size < 0 or not isinstance(leaf, str):
        raise Malformed(f"expected size and leaf of audit/head, found {str(said)[:100]!r}")
    try:
        link = bytes.fromhex(leaf)
    except ValueError as error:
        raise Malformed("expected a leaf in hex of audit/head, found something else") from error
    if len(link) != _LEAF_BYTES:
        raise Malformed(f"expected a leaf of {_LEAF_BYTES} bytes, found {len(link)}")
    return WritersHead(size, link)
