"""What a drill stands on, from the settings: the sealed log, whom we believe, where backups lie."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

from tasks.clients import audit_api
from tasks.clients.errors import ClientError
from tasks.clients.object_store import ObjectStore
from tasks.domain.backups import Backup
from tasks.sections.systems import ApiSettings
from tasks.settings import Settings
from tasks.work import anchors
from tasks.work.catalogue import places
from tasks.work.drill_steps import Ground
from tasks.work.fetching import Progress, fetch
from tasks.work.loading import rules_of
from tasks.work.log_store import ObjectLog


def ground_of(settings: Settings) -> Ground:
    """Raises BadInput when nobody is named whose signatures count."""
    store, database = settings.store, settings.database
    log = ObjectLog(ObjectStore(store), store.backups_bucket, store.audit_prefix)
    trust = settings.ledger.read_trust()

    def bring(backup: Backup, directory: Path, progress: Progress) -> Path:
        return fetch(backup, directory, progress, places(settings))

    return Ground(
        log=log,
        trust=trust,
        anchored=lambda head: anchors.check(log, head, trust),
        fetch=bring,
        acknowledged=lambda: newest_acknowledged(settings.api),
        owner=database.owner,
        rules=replace(rules_of(settings), production=""),
        binaries=database.client_binaries,
    )


def newest_acknowledged(api: ApiSettings) -> datetime | None:
    """When the newest record was written that the audit API shows; None when it shows none.

    The API is asked because it is there in peace; a drill does not depend on it.
    """
    try:
        shown = audit_api.get(api, "audit/records", limit=1).get("records")
    except ClientError:
        return None
    try:
        at = datetime.fromisoformat(shown[0]["timestamp"])  # type: ignore[index]  # caught below
    except (LookupError, TypeError, ValueError):
        return None
    return at if at.tzinfo is not None else None
