"""The sealer: the only identity that holds the log's signing key.

    python -m deployments.lab.sealer

Environment: LAB_SEALER_DSN, LAB_SEALER_KEY_FILE, and the store and origin as RUNBOOK_ settings with
the sealer's own access key. Prints the size of the sealed log.
"""

import os
from pathlib import Path

from tasks.clients.object_store import ObjectStore
from tasks.domain.ledger import NoteSigner
from tasks.settings import Settings
from tasks.work.log_store import ObjectLog
from tasks.work.sealing import seal


def signer() -> NoteSigner:
    """The sealer's key, from its file."""
    key = Path(os.environ["LAB_SEALER_KEY_FILE"]).read_text(encoding="ascii")
    return NoteSigner.parse(key.strip())


def main() -> None:
    """Seal every record that the last checkpoint does not cover."""
    settings = Settings()
    store = ObjectStore(settings.store)
    log = ObjectLog(
        store,
        settings.store.backups_bucket,
        settings.store.audit_prefix,
        retention_days=settings.store.retention_days,
    )
    result = seal(os.environ["LAB_SEALER_DSN"], log, signer(), settings.ledger.read_trust())
    store.close()
    print(result.checkpoint.size)


if __name__ == "__main__":
    main()
