"""The controller of Deployments: one ReplicaSet per template, replaced step by step.

Follows kube-controller-manager (pkg/controller/deployment: sync.go, rolling.go, progress.go) in
what is written when; `rollouts` holds its arithmetic.
"""

from collections.abc import Callable

from deployments.lab.kubernetes import rollouts
from deployments.lab.kubernetes.clock import Clock
from deployments.lab.kubernetes.documents import (
    HASH,
    hash_of,
    is_owned_by,
    owned_by,
)
from deployments.lab.kubernetes.events import Recorder
from deployments.lab.kubernetes.kinds import DEPLOYMENTS, REPLICA_SETS, Json, copied
from deployments.lab.kubernetes.replica_sets import CONTROLLER, CONTROLLER_STATUS
from deployments.lab.kubernetes.rollout_conditions import conditions_of
from deployments.lab.kubernetes.store import Store


class Deployments:
    """Level-triggered: each look takes one step of each rollout."""

    def __init__(
        self, store: Store, clock: Clock, recorder: Recorder, wake: Callable[[float], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._recorder = recorder
        self._wake = wake

    def look(self) -> None:
        """At all of them."""
        for each in self._store.items(DEPLOYMENTS):
            self._advance(each)

    def _advance(self, deployment: Json) -> None:
        wanted = deployment["spec"]["replicas"]
        sets = self._sets(deployment)
        is_scaled = any(
            each["spec"]["replicas"] > 0
            and each["metadata"]["annotations"][rollouts.DESIRED] != str(wanted)
            for each in sets
        )
        paused = bool(deployment["spec"].get("paused"))
        new = self._current(deployment, sets, create=not paused and not is_scaled)
        deployment = self._again(deployment)
        sets = self._sets(deployment)
        if paused or is_scaled:
            self._scale(deployment, sets, new)
        elif new is not None:
            self._roll(deployment, [each for each in sets if each is not new], new)
        self._report(self._again(deployment))

    def _sets(self, deployment: Json) -> list[Json]:
        found = self._store.items(REPLICA_SETS, deployment["metadata"]["namespace"])
        return [each for each in found if is_owned_by(each, deployment)]

    def _again(self, deployment: Json) -> Json:
        head = deployment["metadata"]
        return self._store.get(DEPLOYMENTS, head["namespace"], head["name"])

    def _current(self, deployment: Json, sets: list[Json], *, create: bool) -> Json | None:
        """The ReplicaSet of the present template, numbered as the latest; made if need be."""
        template = deployment["spec"]["template"]
        new = next((each for each in sets if rollouts.matches(each, template)), None)
        old = [each for each in sets if each is not new]
        number = max(map(rollouts.revision_of, old), default=0) + 1
        if new is None:
            return self._made(deployment, old, number) if create else None
        annotations = new["metadata"]["annotations"] | rollouts.copied_annotations(deployment)
        if rollouts.revision_of(new) < number:
            past = annotations.get(rollouts.HISTORY)
            last = annotations[rollouts.REVISION]
            annotations[rollouts.HISTORY] = f"{past},{last}" if past else last
            annotations[rollouts.REVISION] = str(number)
        if annotations != new["metadata"]["annotations"]:
            changed = self._store.edit(REPLICA_SETS, *_place(new))
            changed["metadata"]["annotations"] = dict(sorted(annotations.items()))
            new = self._store.update(REPLICA_SETS, changed, CONTROLLER)
        self._number(deployment, rollouts.revision_of(new))
        return new

    def _made(self, deployment: Json, old: list[Json], number: int) -> Json:
        template = copied(deployment["spec"]["template"])
        name = hash_of(template)
        template["metadata"]["labels"] = {**template["metadata"].get("labels", {}), HASH: name}
        surge, _ = rollouts.limits(deployment)
        wanted = deployment["spec"]["replicas"]
        size = max(min(wanted, wanted + surge - rollouts.sized(old)), 0)
        if deployment["spec"]["strategy"]["type"] == "Recreate":
            size = 0 if rollouts.counted(old, "replicas") else wanted
        annotations = rollouts.copied_annotations(deployment) | {
            rollouts.DESIRED: str(wanted),
            rollouts.MOST: str(wanted + surge),
            rollouts.REVISION: str(number),
        }
        selector = deployment["spec"]["selector"]
        selected = {**selector, "matchLabels": {**selector.get("matchLabels", {}), HASH: name}}
        spec = {"replicas": size, "selector": selected, "template": template}
        if "minReadySeconds" in deployment["spec"]:
            spec["minReadySeconds"] = deployment["spec"]["minReadySeconds"]
        made = self._store.create(
            REPLICA_SETS,
            {
                "metadata": {
                    "name": f"{deployment['metadata']['name']}-{name}",
                    "namespace": deployment["metadata"]["namespace"],
                    "labels": template["metadata"]["labels"],
                    "annotations": dict(sorted(annotations.items())),
                    "ownerReferences": owned_by(DEPLOYMENTS, deployment),
                },
                "spec": spec,
                "status": {"replicas": 0},
            },
            CONTROLLER,
        )
        if size:
            self._say(deployment, made, 0, size)
        text = f'Created new replica set "{made["metadata"]["name"]}"'
        self._number(deployment, number, text)
        return made

    def _number(self, deployment: Json, number: int, created: str = "") -> None:
        if rollouts.revision_of(deployment) == number and not created:
            return
        changed = self._store.edit(DEPLOYMENTS, *_place(deployment))
        annotations = changed["metadata"].get("annotations", {}) | {rollouts.REVISION: str(number)}
        changed["metadata"]["annotations"] = dict(sorted(annotations.items()))
        if created and changed["spec"].get("progressDeadlineSeconds") is not None:
            status = changed.setdefault("status", {})
            status["conditions"] = rollouts.set_condition(
                status.get("conditions", []),
                "Progressing",
                "True",
                "NewReplicaSetCreated",
                created,
                self._clock.seconds(),
            )
        self._store.update(DEPLOYMENTS, changed, CONTROLLER_STATUS)

    def _roll(self, deployment: Json, old: list[Json], new: Json) -> None:
        wanted = deployment["spec"]["replicas"]
        surge, missing = rollouts.limits(deployment)
        if deployment["spec"]["strategy"]["type"] == "Recreate":
            for each in old:
                self._resize(deployment, each, 0)
            if not rollouts.counted(old, "replicas"):
                self._resize(deployment, new, wanted)
            return
        size = new["spec"]["replicas"]
        room = wanted + surge - rollouts.sized([*old, new])
        target = wanted if size > wanted else size + max(min(room, wanted - size), 0)
        if target != size:
            self._resize(deployment, new, target)
            return
        least = wanted - missing
        unavailable = size - rollouts.counted([new], "availableReplicas")
        spare = rollouts.sized([*old, new]) - least - unavailable
        if spare > 0 and rollouts.sized(old) > 0:
            self._shrink(deployment, old, new, least, spare)
        elif rollouts.is_complete(deployment, deployment.get("status", {})):
            self._tidy(deployment, old)

    def _shrink(self, deployment: Json, old: list[Json], new: Json, least: int, spare: int) -> None:
        """First pods of old ReplicaSets that do not serve, then as many as availability allows."""
        sizes = {each["metadata"]["uid"]: each["spec"]["replicas"] for each in old}
        by_age = sorted(old, key=lambda each: str(each["metadata"]["creationTimestamp"]))
        for each in by_age:
            idle = each["spec"]["replicas"] - rollouts.counted([each], "availableReplicas")
            taken = max(min(idle, spare), 0)
            sizes[each["metadata"]["uid"]] -= taken
            spare -= taken
        left = rollouts.counted([*old, new], "availableReplicas") - least
        for each in by_age:
            taken = max(min(sizes[each["metadata"]["uid"]], left, spare), 0)
            sizes[each["metadata"]["uid"]] -= taken
            left -= taken
            spare -= taken
        for each in by_age:
            self._resize(deployment, each, sizes[each["metadata"]["uid"]])

    def _scale(self, deployment: Json, sets: list[Json], new: Json | None) -> None:
        """The size changed, not the template: nobody is replaced, the parts grow in proportion."""
        wanted = deployment["spec"]["replicas"]
        active = [each for each in sets if each["spec"]["replicas"] > 0]
        if len(active) <= 1:
            only = active[0] if active else new
            if only is not None:
                self._resize(deployment, only, wanted)
            return
        surge, _ = rollouts.limits(deployment)
        allowed = wanted + surge if wanted else 0
        total = rollouts.sized(active)
        sizes = []
        for each in active:
            most = int(each["metadata"]["annotations"].get(rollouts.MOST, total))
            sizes.append(round(each["spec"]["replicas"] * allowed / most))
        largest = max(range(len(active)), key=lambda place: active[place]["spec"]["replicas"])
        sizes[largest] = max(sizes[largest] + allowed - sum(sizes), 0)
        for each, size in zip(active, sizes, strict=True):
            self._resize(deployment, each, size)

    def _resize(self, deployment: Json, replica_set: Json, size: int) -> None:
        before = replica_set["spec"]["replicas"]
        wanted = deployment["spec"]["replicas"]
        if before == size and size == 0:
            return
        changed = self._store.edit(REPLICA_SETS, *_place(replica_set))
        changed["spec"]["replicas"] = size
        changed["metadata"]["annotations"] |= {
            rollouts.DESIRED: str(wanted),
            rollouts.MOST: str(wanted + rollouts.limits(deployment)[0]),
        }
        self._store.update(REPLICA_SETS, changed, CONTROLLER)
        if before != size:
            self._say(deployment, replica_set, before, size)

    def _tidy(self, deployment: Json, old: list[Json]) -> None:
        kept = deployment["spec"]["revisionHistoryLimit"]
        idle = [
            each
            for each in old
            if not each["spec"]["replicas"] and not rollouts.counted([each], "replicas")
        ]
        idle.sort(key=rollouts.revision_of)
        for each in idle[: max(len(idle) - kept, 0)]:
            self._store.remove(REPLICA_SETS, *_place(each))

    def _report(self, deployment: Json) -> None:
        sets = self._sets(deployment)
        template = deployment["spec"]["template"]
        new = next((each for each in sets if rollouts.matches(each, template)), None)
        status = rollouts.figures(deployment, sets, new)
        conditions = conditions_of(deployment, status, new, self._clock.seconds())
        if conditions:
            status["conditions"] = conditions
        due = rollouts.deadline_of(deployment, conditions)
        if due is not None:
            self._wake(due)
        if status != deployment.get("status"):
            changed = self._store.edit(DEPLOYMENTS, *_place(deployment))
            changed["status"] = status
            self._store.update(DEPLOYMENTS, changed, CONTROLLER_STATUS)

    def _say(self, deployment: Json, replica_set: Json, before: int, size: int) -> None:
        direction = "up" if size > before else "down"
        name = replica_set["metadata"]["name"]
        self._recorder.record(
            DEPLOYMENTS,
            deployment,
            "ScalingReplicaSet",
            f"Scaled {direction} replica set {name} from {before} to {size}",
            "deployment-controller",
        )


def _place(item: Json) -> tuple[str, str]:
    return item["metadata"]["namespace"], item["metadata"]["name"]
