"""Faults of the database's storage and of its pod: nothing is damaged, and nobody is served."""

from deployments.lab.cluster_manifests import POSTGRES
from deployments.lab.damage import Damage
from deployments.lab.parts import Parts
from deployments.lab.server_pods import Ailing

_FULL_SHARE = 0.93
_BYTES_PER_SECOND = 2.0 * 2**20


def disk_filling(lab: Parts) -> Damage:
    """Something writes and writes: the volume is nearly full and goes on filling."""
    life = lab.cluster_life
    life.gather_baseline()
    life.volume.fill(_FULL_SHARE)
    life.volume.growing = _BYTES_PER_SECOND
    return Damage(
        f"the database's volume is {_FULL_SHARE:.0%} full and goes on filling",
        cause="db.disk-filling",
    )


def database_down(lab: Parts) -> Damage:
    """PostgreSQL hangs: it takes connections and answers none."""
    life = lab.cluster_life
    life.gather_baseline()
    life.ail(POSTGRES, how=Ailing.HANGS)
    return Damage(
        "PostgreSQL hangs in its pod: connections are taken and never answered",
        cause="db.unreachable",
    )
