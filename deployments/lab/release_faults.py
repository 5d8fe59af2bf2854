"""A release that starts well, is ready, and then answers with errors."""

from datetime import UTC, datetime

from deployments.lab.damage import Damage
from deployments.lab.effects import Effect
from deployments.lab.errors import LabError
from deployments.lab.kubernetes.manifests import API
from deployments.lab.parts import Parts
from tasks.settings import settings
from tasks.work import healthy_revisions

IMAGE = "registry.local/rlhf-audit-trail:1.5.0"

_FAILING = 0.9
_ROLLED_OUT_SECONDS = 30.0


def bad_release(lab: Parts) -> Damage:
    """Nine of ten requests fail in every pod of the new release, and no probe notices."""
    life = lab.cluster_life
    life.gather_baseline()
    # What the schedule does every ten minutes has been done while all was well.
    healthy_revisions.look_and_keep(settings().kubernetes, datetime.now(UTC))
    template = life.roll_out(
        "release 1.5.0: annotator ids are required",
        Effect(error_share=_FAILING, status=500, detail="KeyError: 'annotator_id'"),
        image=IMAGE,
        environment={"REQUIRE_ANNOTATOR_ID": "1"},
    )
    if not life.until(lambda: life.effect().error_share >= _FAILING, _ROLLED_OUT_SECONDS):
        raise LabError(f"expected {API}-{template} to be rolled out, found {life.effect()}")
    return Damage(
        f"{API} was released as 1.5.0, which fails nine of ten requests",
        cause="api.release-change",
    )
