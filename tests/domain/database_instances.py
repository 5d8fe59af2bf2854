"""The pod of a server, as tests of diagnoses need it."""

from typing import Any

from tasks.domain.instance_restart import Instance


def instance(**changes: Any) -> Instance:
    """A pod that runs, is not ready and may be restarted, but for `changes`."""
    known: dict[str, Any] = {
        "name": "postgresql-0",
        "uid": "u-1",
        "owner": "StatefulSet/postgresql",
        "ready": False,
        "runs": True,
        "state": "is running, not ready",
        "claim": "data-postgresql-0",
    }
    return Instance(**(known | changes))
