"""What a database recovery is planned against: looked at, never touched."""

from dataclasses import dataclass
from typing import Any

from tasks.clients import audit_api, postgres, postgres_admin
from tasks.clients.errors import Malformed, Transient
from tasks.domain.carry_over import WritersHead
from tasks.domain.restore import (
    Backup,
    RestoreNumbers,
    choose_backup,
    plan_numbers,
)
from tasks.settings import ApiSettings
from tasks.work.log_store import Head, latest_head
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
    head = latest_head(site.log, site.verifier, site.origin)
    site.anchored(head)
    size = head.checkpoint.size
    backup = choose_backup(backups, size)
    extent = observe(site, size)
    writers = ask_writers(api)
    numbers = plan_numbers(
        backup, size, extent.end, extent.tail, writers.size if writers else extent.end
    )
    return Situation(head, backup, extent, numbers, observed_state(site, head, backup))


def observed_state(site: Site, head: Head, backup: Backup) -> dict[str, Any]:
    """What must still be so when the plan is carried out.

    Another database under production's name, another head or another backup makes it another plan.
    """
    with postgres.connect(site.dsn, timeout_seconds=site.timeout_seconds) as admin:
        states = postgres_admin.databases(admin, [site.names.production])
    production = states.get(site.names.production)
    return {
        "production_oid": production.oid if production else None,
        "signed_size": head.checkpoint.size,
        "signed_root": head.checkpoint.root.hex(),
        "backup": backup.key,
        "backup_sha256": backup.sha256,
    }


def ask_writers(api: ApiSettings) -> WritersHead | None:
    """What the API was told is written (`/api/v1/audit/head`); None when it does not answer.

    Raises Malformed when it answers nonsense: then nobody knows what was acknowledged.
    """
    try:
        said = audit_api.get(api, "audit/head")
    except Transient:
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
