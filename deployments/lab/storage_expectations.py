"""What must be true after the database's storage or pod ailed: room, an answer, every record."""

from deployments.lab.cluster_expectations import names_the_cause, only_done, pods_are_ready
from deployments.lab.cluster_manifests import CLAIM, CLAIM_BYTES, POSTGRES
from deployments.lab.expectations import Check, Situation
from deployments.lab.patient import DATABASE
from tasks.domain.storage_causes import RESTART_DATABASE
from tasks.domain.storage_plan import STORAGE

_ROOM_SHARE = 0.85


def of_disk_filling(now: Situation) -> list[Check]:
    """The claim is larger, and its pod was not touched."""
    volume = now.lab.cluster_life.volume
    share = volume.used_bytes / volume.size_bytes
    return [
        names_the_cause(now),
        Check(
            f"claim {CLAIM} is larger, and there is room",
            volume.size_bytes > CLAIM_BYTES and share < _ROOM_SHARE,
            f"{volume.size_bytes / 2**30:.0f} GiB, {share:.0%} in use",
        ),
        pods_are_ready(now, POSTGRES, 1),
        only_done(now, STORAGE),
    ]


def of_database_down(now: Situation) -> list[Check]:
    """Another pod serves, with every record that was signed."""
    with now.lab.patient.connect(DATABASE) as connection:
        row = connection.execute(
            "SELECT count(*) FROM audit_records WHERE seq < %s", (now.lab.sealed_size,)
        ).fetchone()
    there = row[0] if row else 0
    return [
        names_the_cause(now),
        pods_are_ready(now, POSTGRES, 1),
        Check("every sealed record is there", there == now.lab.sealed_size, f"{there:,} records"),
        only_done(now, RESTART_DATABASE),
    ]
