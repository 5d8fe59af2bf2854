"""When each revision of a workload was rolled out, and by whom, as far as the cluster knows.

A revision's holder keeps the time at which it was made. A workload that went back to an older one
took that up again later: then only its managedFields know when. They also name who wrote the
template last, the program and not the person, and nobody for revisions before.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from tasks.domain.recent_changes import Release
from tasks.domain.rollout import same_release
from tasks.domain.workloads import Deployment, Revision, StatefulSet, TemplateWriter

RESTARTED = "restarted, nothing else changed"

_LABELS = ("component", "app.kubernetes.io/component", "app.kubernetes.io/name", "app")
_COMPONENTS = {
    "api": "api",
    "application": "api",
    "worker": "workers",
    "workers": "workers",
    "privacy-engine": "privacy-engine",
    "database": "database",
    "postgres": "database",
    "postgresql": "database",
    "cache": "cache",
    "redis": "cache",
    "valkey": "cache",
}


def component_of(workload: Deployment | StatefulSet, named: Mapping[str, str]) -> str:
    """The runbook's component that it serves: by its name in `named`, else by its pods' labels.

    The workload's own name where neither says it.
    """
    if workload.name in named:
        return named[workload.name]
    labels = _labels(workload)
    words = [labels[name] for name in _LABELS if name in labels]
    known = (_COMPONENTS[word] for word in [*words, workload.name] if word in _COMPONENTS)
    return next(known, workload.name)


def releases_of(
    component: str, workload: Deployment | StatefulSet, history: Sequence[Revision]
) -> tuple[Release, ...]:
    """Each revision of a history (newest first) as it was rolled out."""
    earlier = [*history[1:], None][: len(history)]
    return tuple(
        Release(
            component=component,
            workload=f"{_KINDS[type(workload)]}/{workload.name}",
            revision=each.number,
            images=each.images,
            cause=_cause(each, before),
            at=rolled_out_at(workload, each, history),
            who=_who(workload.writers) if each.current else "",
        )
        for each, before in zip(history, earlier, strict=True)
    )


def rolled_out_at(
    workload: Deployment | StatefulSet, revision: Revision, history: Sequence[Revision]
) -> datetime | None:
    """When it was taken up last; None where nobody knows."""
    made = revision.created_at
    taken_up_again = made is None or any(
        each.created_at is not None and each.created_at > made for each in history
    )
    if not revision.current or not taken_up_again:
        return made
    newest = _newest(workload.writers)
    return newest.at if newest else None


def _cause(revision: Revision, before: Revision | None) -> str:
    if before is not None and same_release(revision, before):
        return RESTARTED
    return revision.change_cause


def _who(writers: Sequence[TemplateWriter]) -> str:
    newest = _newest(writers)
    return newest.name if newest else ""


def _newest(writers: Sequence[TemplateWriter]) -> TemplateWriter | None:
    known = [(each.at, each) for each in writers if each.at is not None]
    return max(known, key=lambda one: one[0])[1] if known else None


def _labels(workload: Deployment | StatefulSet) -> dict[str, str]:
    """Those of its pods; whatever is no text there is nobody's component."""
    metadata = workload.template.content.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
    pairs = labels.items() if isinstance(labels, Mapping) else ()
    return {name: text for name, text in pairs if isinstance(text, str)}


_KINDS = {Deployment: "deployment", StatefulSet: "statefulset"}
