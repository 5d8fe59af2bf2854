"""What a namespace may have, and volumes that may grow: admission and the controllers behind it."""

from fractions import Fraction

from deployments.lab.kubernetes.clock import Clock
from deployments.lab.kubernetes.documents import is_active
from deployments.lab.kubernetes.kinds import (
    CLAIMS,
    PODS,
    QUOTAS,
    STORAGE_CLASSES,
    Json,
)
from deployments.lab.kubernetes.ownership import Writer
from deployments.lab.kubernetes.quantities import amount, asked, millis
from deployments.lab.kubernetes.refusals import forbidden, invalid
from deployments.lab.kubernetes.store import Store

_WRITER = Writer("kube-controller-manager", "status")
_BYTES = 2**20


class Quotas:
    """Counts what pods ask for against each ResourceQuota."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def admit(self, pod: Json) -> None:
        """Raises the 403 of a namespace that is full."""
        for quota in self._store.items(QUOTAS, pod["metadata"]["namespace"]):
            hard: Json = quota["spec"].get("hard", {})
            used = self._used(quota)
            more = {name: _counted(pod, name) for name in hard}
            full = [
                name for name in hard if more[name] and used[name] + more[name] > amount(hard[name])
            ]
            if not full:
                continue
            requested = ",".join(f"{name}={_text(name, more[name])}" for name in full)
            now = ",".join(f"{name}={_text(name, used[name])}" for name in full)
            most = ",".join(f"{name}={hard[name]}" for name in full)
            name = quota["metadata"]["name"]
            why = f"exceeded quota: {name}, requested: {requested}, used: {now}, limited: {most}"
            raise forbidden(PODS, pod["metadata"]["name"], why)

    def look(self) -> None:
        """Write what is used."""
        for quota in self._store.items(QUOTAS):
            hard = quota["spec"].get("hard", {})
            used = {name: _text(name, value) for name, value in self._used(quota).items()}
            status = {"hard": hard, "used": used}
            if status != quota.get("status"):
                head = quota["metadata"]
                changed = self._store.edit(QUOTAS, head["namespace"], head["name"])
                changed["status"] = status
                self._store.update(QUOTAS, changed, _WRITER)

    def _used(self, quota: Json) -> dict[str, Fraction]:
        pods = [
            each
            for each in self._store.items(PODS, quota["metadata"]["namespace"])
            if is_active(each)
        ]
        names = quota["spec"].get("hard", {})
        return {name: sum((_counted(pod, name) for pod in pods), Fraction(0)) for name in names}


class Volumes:
    """Claims are bound at once and grow when their class lets them.

    With `wait_for_pods` a volume grows at once and its file system only in another pod, as with
    drivers that cannot enlarge one that is mounted.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.wait_for_pods = False
        self._mounted: dict[str, set[str]] = {}
        """By the uid of a claim whose file system waits: the pods that had it then."""

    def admit(self, old: Json, new: Json) -> None:
        """Raises 403 when the class does not let a volume grow, 422 when it would shrink."""
        before, after = (_asked(each) for each in (old, new))
        name = new["metadata"]["name"]
        if after < before:
            text = "Forbidden: field can not be less than status.capacity"
            field = "spec.resources.requests.storage"
            raise invalid("", "PersistentVolumeClaim", name, field, text, "FieldValueForbidden")
        named = new["spec"].get("storageClassName", "")
        found = self._store.find(STORAGE_CLASSES, "", named)
        if after > before and not (found and found.get("allowVolumeExpansion")):
            why = (
                "only dynamically provisioned pvc can be resized and the storageclass that "
                "provisions the pvc must support resize"
            )
            raise forbidden(CLAIMS, name, why)

    def look(self) -> None:
        """Give each claim what it asks for."""
        for claim in self._store.items(CLAIMS):
            head, spec = claim["metadata"], claim["spec"]
            status = {
                "phase": "Bound",
                "accessModes": spec.get("accessModes", ["ReadWriteOnce"]),
                "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            }
            if self._waits(claim):
                status |= {"capacity": claim["status"]["capacity"], "conditions": [self._pending()]}
                if claim["status"].get("conditions"):
                    continue
            if status != claim.get("status"):
                changed = self._store.edit(CLAIMS, head["namespace"], head["name"])
                changed["status"] = status
                changed["spec"].setdefault("volumeName", f"pvc-{head['uid']}")
                self._store.update(CLAIMS, changed, _WRITER)

    def _waits(self, claim: Json) -> bool:
        """Whether its file system is still as small as the pod found it that has it mounted."""
        uid, status = claim["metadata"]["uid"], claim.get("status", {})
        pods = {
            each["metadata"]["uid"]
            for each in self._store.items(PODS, claim["metadata"]["namespace"])
            if claim["metadata"]["name"] in _claims_of(each)
        }
        if "capacity" not in status or _asked(claim) <= amount(status["capacity"]["storage"]):
            self._mounted.pop(uid, None)
            return False
        if uid not in self._mounted and self.wait_for_pods:
            self._mounted[uid] = pods
        before = self._mounted.get(uid, set())
        return bool(before) and (not pods or bool(pods & before))

    def _pending(self) -> Json:
        return {
            "type": "FileSystemResizePending",
            "status": "True",
            "lastTransitionTime": self._clock.stamp(),
            "message": "Waiting for user to (re-)start a pod to finish file system resize of "
            "volume on node.",
        }


def _claims_of(pod: Json) -> set[str]:
    volumes = pod["spec"].get("volumes", [])
    return {each.get("persistentVolumeClaim", {}).get("claimName", "") for each in volumes}


def _asked(claim: Json) -> Fraction:
    return amount(claim["spec"]["resources"]["requests"]["storage"])


def _counted(pod: Json, name: str) -> Fraction:
    if name in {"pods", "count/pods"}:
        return Fraction(1)
    of, _, what = name.rpartition(".")
    return asked(pod, what, of or "requests") if what in {"cpu", "memory"} else Fraction(0)


def _text(name: str, value: Fraction) -> str:
    if name.endswith("cpu"):
        return millis(value)
    if name.endswith("memory") and value:
        return f"{int(value / _BYTES)}Mi"
    return str(int(value))
