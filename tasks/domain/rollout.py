"""The way back to an earlier revision of a workload: what `kubectl rollout undo` does.

Differences from kubectl: the revision is chosen by evidence (undoing twice returns to the bad one),
and the patch carries the resourceVersion that it was made against, so that a change in between is a
conflict and not overwritten. Nothing here reads a change cause to decide.
"""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from tasks.domain.rollout_evidence import Evidence, Worth
from tasks.domain.rollout_history import CannotUndo, Why
from tasks.domain.workload_reading import RESTARTED_AT, REVISION, REVISION_HISTORY
from tasks.domain.workloads import ControllerRevision, Deployment, Revision, StatefulSet

_HASH = "pod-template-hash"
# These stay the Deployment's own; all others are taken from the ReplicaSet (kubectl's list).
_KEPT = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        REVISION_HISTORY,
        "deployment.kubernetes.io/desired-replicas",
        "deployment.kubernetes.io/max-replicas",
        "deprecated.deployment.rollback.to",
    }
)


@dataclass(frozen=True, slots=True)
class AlreadyThere:
    """The template already matches this revision: nothing to do."""

    revision: Revision
    text: str


@dataclass(frozen=True, slots=True)
class Undo:
    """The way back to `revision`, made against `resource_version`.

    `patch` is a JSON patch (a list) for a Deployment, a strategic merge patch (an object) for a
    StatefulSet; `because` is why this revision is believed in.
    """

    revision: Revision
    resource_version: str
    patch: list[dict[str, Any]] | dict[str, Any]
    because: tuple[str, ...]


Decision = Undo | AlreadyThere | CannotUndo


def known_good(
    history: Sequence[Revision],
    evidence: Iterable[Evidence],
    suspects: frozenset[str] = frozenset(),
) -> tuple[Revision, tuple[str, ...]] | CannotUndo:
    """The newest revision that was healthy by evidence, and that evidence; never the current one.

    Revisions whose template is the current one's but for a restart are no way back, and neither are
    `suspects` (holders that a diagnosis blames) and those that failed by evidence.
    """
    present = next((each for each in history if each.current), None)
    if present is None:
        return CannotUndo(Why.UNKNOWN_REVISION, "the current revision is not in the history: wait")
    said = list(evidence)
    bad = {each.holder for each in said if each.worth is Worth.FAILED} | suspects
    for each in history:
        if each.current or each.holder in bad or same_release(each, present):
            continue
        because = [one.text for one in said if one.holder == each.holder]
        if because:
            return each, tuple(because)
    others = ", ".join(str(each.number) for each in history if not each.current) or "none"
    return CannotUndo(
        Why.NO_EVIDENCE,
        f"no revision besides {present.number} was healthy by evidence (there are: {others}): name "
        "one, or roll forward",
    )


def undo_deployment(
    deployment: Deployment, target: Revision, because: tuple[str, ...] = ()
) -> Decision:
    """The patch that brings `target` (of its history) back."""
    if deployment.paused:
        return CannotUndo(Why.PAUSED, f"{deployment.name} is paused: resume it first")
    if deployment.revision is None or not target.number:
        return CannotUndo(
            Why.UNKNOWN_REVISION, f"{deployment.name} has no revision number yet: wait for one"
        )
    template = without_hash(target.template.content)
    if template == without_hash(deployment.template.content):
        text = f"{deployment.name} already matches revision {target.number}: nothing to do"
        return AlreadyThere(target, text)
    annotations = {key: text for key, text in deployment.annotations.items() if key in _KEPT}
    annotations |= {key: text for key, text in target.annotations.items() if key not in _KEPT}
    patch = [
        _replace("/metadata/resourceVersion", deployment.resource_version),
        _replace("/spec/template", template),
        _replace("/metadata/annotations", annotations),
    ]
    return Undo(target, deployment.resource_version, patch, because)


def undo_stateful_set(
    stateful: StatefulSet,
    target: Revision,
    revisions: Iterable[ControllerRevision],
    because: tuple[str, ...] = (),
) -> Decision:
    """The patch that brings `target` back: the revision's own data, guarded."""
    kept = next((each for each in revisions if each.uid == target.holder_uid), None)
    if kept is None or set(kept.data) != {"spec"} or set(kept.data["spec"]) != {"template"}:
        text = f"{stateful.name}: revision {target.number} is gone or holds more than a template"
        return CannotUndo(Why.UNKNOWN_REVISION, text)
    if without_hash(target.template.content) == without_hash(stateful.template.content):
        text = f"{stateful.name} already matches revision {target.number}: nothing to do"
        return AlreadyThere(target, text)
    patch = {
        "metadata": {"resourceVersion": stateful.resource_version},
        "spec": deepcopy(dict(kept.data["spec"])),
    }
    return Undo(target, stateful.resource_version, patch, because)


def same_release(one: Revision, other: Revision) -> bool:
    """Whether two templates differ in nothing but a restart."""
    return _without_restart(one) == _without_restart(other)


def without_hash(template: Mapping[str, Any]) -> dict[str, Any]:
    """A template as a Deployment has it: without what controllers and patches write into it."""
    plain = deepcopy({key: value for key, value in template.items() if key != "$patch"})
    metadata = plain.get("metadata") or {}
    labels = {key: text for key, text in (metadata.get("labels") or {}).items() if key != _HASH}
    rest = {key: value for key, value in metadata.items() if value is not None and key != "labels"}
    plain["metadata"] = rest | ({"labels": labels} if labels else {})
    return plain


def _without_restart(revision: Revision) -> dict[str, Any]:
    plain = without_hash(revision.template.content)
    metadata = plain["metadata"]
    annotations = metadata.pop("annotations", None) or {}
    rest = {key: text for key, text in annotations.items() if key != RESTARTED_AT}
    plain["metadata"] = metadata | ({"annotations": rest} if rest else {})
    return plain


def _replace(path: str, value: object) -> dict[str, Any]:
    return {"op": "replace", "path": path, "value": value}
