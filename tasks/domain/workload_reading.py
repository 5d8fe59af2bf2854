"""The API's JSON of workloads and of what bounds them, read into values. Raises BadInput."""

import re
from collections.abc import Mapping

from tasks.domain.json_fields import Fields
from tasks.domain.pod_reading import (
    pod_resources,
    read_conditions,
    read_owners,
    read_probes,
    read_resources,
)
from tasks.domain.quantities import quantity
from tasks.domain.selectors import read_selector
from tasks.domain.workloads import (
    ContainerSpec,
    ControllerRevision,
    Deployment,
    Hpa,
    Pdb,
    Quota,
    ReplicaSet,
    Scale,
    StatefulSet,
    Template,
    TemplateWriter,
)

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
CHANGE_CAUSE = "kubernetes.io/change-cause"
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"

_CONTAINERS = 64
_NUMBER = re.compile("[0-9]{1,18}")
_NUMBERS = re.compile("[0-9]{1,18}(?:,[0-9]{1,18}){0,999}")
_CAUSE = 200
_MANAGER = 128
_MANAGERS = 256


def read_deployment(value: object) -> Deployment:
    """From a Deployment of apps/v1."""
    deployment = Fields.of("deployment", value)
    metadata = deployment.within("metadata")
    spec, status = deployment.within("spec"), deployment.within("status")
    annotations = metadata.pairs("annotations")
    return Deployment(
        namespace=metadata.exact("namespace"),
        name=metadata.exact("name"),
        uid=metadata.exact("uid"),
        resource_version=metadata.exact("resourceVersion"),
        generation=metadata.number("generation"),
        observed_generation=status.number("observedGeneration"),
        revision=_revision(annotations),
        change_cause=_cause(metadata),
        created_at=metadata.moment("creationTimestamp"),
        paused=spec.flag("paused"),
        replicas=spec.number("replicas", 1),
        current=status.number("replicas"),
        updated=status.number("updatedReplicas"),
        ready=status.number("readyReplicas"),
        available=status.number("availableReplicas"),
        selector=read_selector(spec),
        template=read_template(spec),
        annotations=annotations,
        conditions=read_conditions(status),
        progress_deadline_seconds=spec.number("progressDeadlineSeconds", 600),
        writers=_writers(metadata),
    )


def read_stateful_set(value: object) -> StatefulSet:
    """From a StatefulSet of apps/v1."""
    stateful = Fields.of("statefulset", value)
    metadata = stateful.within("metadata")
    spec, status = stateful.within("spec"), stateful.within("status")
    strategy = spec.within("updateStrategy")
    rolling = strategy.within("rollingUpdate")
    return StatefulSet(
        namespace=metadata.exact("namespace"),
        name=metadata.exact("name"),
        uid=metadata.exact("uid"),
        resource_version=metadata.exact("resourceVersion"),
        generation=metadata.number("generation"),
        observed_generation=status.number("observedGeneration"),
        created_at=metadata.moment("creationTimestamp"),
        replicas=spec.number("replicas", 1),
        current=status.number("replicas"),
        updated=status.number("updatedReplicas"),
        ready=status.number("readyReplicas"),
        current_revision=status.exact("currentRevision"),
        update_revision=status.exact("updateRevision"),
        strategy=strategy.text("type", 40) or "RollingUpdate",
        partition=rolling.number("partition") if rolling.has("partition") else None,
        selector=read_selector(spec),
        template=read_template(spec),
        writers=_writers(metadata),
    )


def read_replica_set(value: object) -> ReplicaSet:
    """From a ReplicaSet of apps/v1."""
    replica_set = Fields.of("replicaset", value)
    metadata = replica_set.within("metadata")
    spec, status = replica_set.within("spec"), replica_set.within("status")
    annotations = metadata.pairs("annotations")
    return ReplicaSet(
        namespace=metadata.exact("namespace"),
        name=metadata.exact("name"),
        uid=metadata.exact("uid"),
        revision=_revision(annotations),
        revisions=_earlier(annotations),
        change_cause=_cause(metadata),
        created_at=metadata.moment("creationTimestamp"),
        owners=read_owners(metadata),
        replicas=spec.number("replicas", 1),
        ready=status.number("readyReplicas"),
        available=status.number("availableReplicas"),
        template=read_template(spec),
        annotations=annotations,
    )


def read_controller_revision(value: object) -> ControllerRevision:
    """From a ControllerRevision of apps/v1 that a StatefulSet made."""
    revision = Fields.of("controllerrevision", value)
    metadata, data = revision.within("metadata"), revision.within("data")
    return ControllerRevision(
        namespace=metadata.exact("namespace"),
        name=metadata.exact("name"),
        uid=metadata.exact("uid"),
        revision=revision.number("revision"),
        change_cause=_cause(metadata),
        created_at=metadata.moment("creationTimestamp"),
        owners=read_owners(metadata),
        template=read_template(data.within("spec")),
        data=data.value,
    )


def read_template(spec: Fields) -> Template:
    """The pod template of a workload's spec; its content stays as it is."""
    template = spec.within("template")
    pod = template.within("spec")
    containers = [
        ContainerSpec(
            name=each.exact("name"),
            image=each.text("image"),
            resources=read_resources(each),
            init=init,
            probes=read_probes(each),
        )
        for name, init in (("initContainers", True), ("containers", False))
        for each in pod.each(name, _CONTAINERS)
    ]
    restarted = template.within("metadata").pairs("annotations").get(RESTARTED_AT, "")
    return Template(template.value, tuple(containers), pod_resources(pod), restarted)


def read_hpa(value: object) -> Hpa:
    """From a HorizontalPodAutoscaler of autoscaling/v2."""
    hpa = Fields.of("horizontalpodautoscaler", value)
    metadata, spec, status = hpa.within("metadata"), hpa.within("spec"), hpa.within("status")
    target = spec.within("scaleTargetRef")
    return Hpa(
        name=metadata.exact("name"),
        resource_version=metadata.exact("resourceVersion"),
        target_kind=target.exact("kind"),
        target_name=target.exact("name"),
        minimum=spec.number("minReplicas", 1),
        maximum=spec.number("maxReplicas"),
        current=status.number("currentReplicas"),
        desired=status.number("desiredReplicas"),
        conditions=read_conditions(status),
    )


def read_pdb(value: object) -> Pdb:
    """From a PodDisruptionBudget of policy/v1."""
    pdb = Fields.of("poddisruptionbudget", value)
    metadata, status = pdb.within("metadata"), pdb.within("status")
    unhealthy = pdb.within("spec").text("unhealthyPodEvictionPolicy", 40)
    return Pdb(
        name=metadata.exact("name"),
        selector=read_selector(pdb.within("spec")),
        healthy=status.number("currentHealthy"),
        desired_healthy=status.number("desiredHealthy"),
        expected=status.number("expectedPods"),
        disruptions_allowed=status.number("disruptionsAllowed"),
        always_unhealthy=unhealthy == "AlwaysAllow",
        current=status.number("observedGeneration") >= metadata.number("generation"),
    )


def read_quota(value: object) -> Quota:
    """From a ResourceQuota of v1."""
    quota = Fields.of("resourcequota", value)
    status = quota.within("status")
    spec = quota.within("spec").pairs("hard")
    return Quota(
        name=quota.within("metadata").exact("name"),
        hard={name: quantity(text) for name, text in (status.pairs("hard") or spec).items()},
        used={name: quantity(text) for name, text in status.pairs("used").items()},
    )


def read_scale(value: object) -> Scale:
    """From a Scale of autoscaling/v1."""
    scale = Fields.of("scale", value)
    metadata = scale.within("metadata")
    return Scale(
        name=metadata.exact("name"),
        resource_version=metadata.exact("resourceVersion"),
        replicas=scale.within("spec").number("replicas"),
        current=scale.within("status").number("replicas"),
    )


def _cause(metadata: Fields) -> str:
    return metadata.within("annotations").text(CHANGE_CAUSE, _CAUSE)


def _writers(metadata: Fields) -> tuple[TemplateWriter, ...]:
    """By managedFields; the API keeps no person's name, only that of the program."""
    return tuple(
        TemplateWriter(each.text("manager", _MANAGER), each.moment("time"))
        for each in metadata.each("managedFields", _MANAGERS)
        if each.within("fieldsV1").within("f:spec").has("f:template")
    )


def _revision(annotations: Mapping[str, str]) -> int | None:
    """None where it is missing or no number: nothing can be said of it then."""
    found = annotations.get(REVISION, "")
    return int(found) if _NUMBER.fullmatch(found) else None


def _earlier(annotations: Mapping[str, str]) -> tuple[int, ...]:
    found = annotations.get(REVISION_HISTORY, "")
    return tuple(map(int, found.split(","))) if _NUMBERS.fullmatch(found) else ()
