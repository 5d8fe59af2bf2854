"""Faults of the API's pods that no release and no load has brought about."""

from deployments.lab.damage import Damage
from deployments.lab.kubernetes.manifests import API
from deployments.lab.parts import Parts


def api_down(lab: Parts) -> Damage:
    """The program in every API pod hangs: requests are taken and never answered."""
    life = lab.cluster_life
    life.gather_baseline()
    pods = life.ready(API)
    life.ail(API)
    return Damage(f"the API hangs in all of its {pods} pods", cause="api.unhealthy-pods")
