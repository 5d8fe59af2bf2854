"""Faults of the API's pods: too little CPU for the load, one pod that crashes at each start."""

from deployments.lab.damage import Damage
from deployments.lab.effects import Effect
from deployments.lab.errors import LabError
from deployments.lab.kubernetes.kinds import Json
from deployments.lab.kubernetes.manifests import API
from deployments.lab.parts import Parts

_ENOUGH, _DELAY_SECONDS = 5, 1.2
_LAST_WORDS = (
    "ERROR cannot map the local cache: checksum mismatch in /app/data/cache.db",
    "FATAL shutting down",
)
_LOOPING_SECONDS = 20.0


def api_slow(lab: Parts) -> Damage:
    """More load than three replicas' CPU can take: all requests wait."""
    life = lab.cluster_life
    life.gather_baseline()
    life.run_short(_ENOUGH, _DELAY_SECONDS)
    return Damage(
        "the load has grown: the API's pods are at their limit of CPU and all requests wait",
        cause="api.resource-constrained",
    )


def pods_crash_looping(lab: Parts) -> Damage:
    """The files of one pod are broken: it ends at each start, and takes its share of requests."""
    life = lab.cluster_life
    life.gather_baseline()
    name = str(life.cluster.pods(API)[0]["metadata"]["name"])
    life.pods_answer(Effect(error_share=0.9, status=502, detail="upstream closed"), name)
    life.cluster.crash_loop(name, after=1.0, code=3, last_words=_LAST_WORDS)
    if not life.until(lambda: _is_looping(life.cluster.get("pods", name)), _LOOPING_SECONDS):
        raise LabError(f"expected {name} to crash again and again, found that it does not")
    return Damage(f"the API's pod {name} crashes at each start", cause="api.crash-looping")


def _is_looping(pod: Json) -> bool:
    (status,) = pod["status"]["containerStatuses"]
    return int(status["restartCount"]) > 0 and "waiting" in status["state"]
