"""Events of the cluster: what happened to which object, counted when it happens again."""

from deployments.lab.kubernetes.clock import Clock, seconds_of
from deployments.lab.kubernetes.kinds import EVENTS, PODS, Json, Kind
from deployments.lab.kubernetes.ownership import Writer
from deployments.lab.kubernetes.store import Store

_KEPT_SECONDS = 3600.0  # the real server's --event-ttl


class Recorder:
    """Writes events; they go after an hour, as the real ones do."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._names: dict[tuple[str, ...], tuple[str, str]] = {}
        self._number = 0

    def record(
        self,
        kind: Kind,
        about: Json,
        reason: str,
        message: str,
        component: str,
        *,
        warning: bool = False,
        container: str = "",
        host: str = "",
    ) -> None:
        """Once more if the same was said of the same object before."""
        head = about["metadata"]
        said = (head["uid"], reason, message, component)
        place = self._names.get(said)
        if place is not None and self._store.find(EVENTS, *place) is not None:
            again = self._store.edit(EVENTS, *place)
            again["count"] += 1
            again["lastTimestamp"] = self._clock.stamp()
            self._store.update(EVENTS, again, Writer(component))
            return
        involved = _involved(kind, about)
        if container:
            involved["fieldPath"] = f"spec.containers{{{container}}}"
        made = self._head(about) | {
            "involvedObject": involved,
            "reason": reason,
            "message": message,
            "source": {"component": component} | ({"host": host} if host else {}),
            "firstTimestamp": self._clock.stamp(),
            "lastTimestamp": self._clock.stamp(),
            "count": 1,
            "type": "Warning" if warning else "Normal",
            "eventTime": None,
            "reportingComponent": component,
            "reportingInstance": host,
        }
        self._made(made, Writer(component))
        self._names[said] = (made["metadata"]["namespace"], made["metadata"]["name"])

    def scheduled(self, pod: Json, reason: str, message: str, *, warning: bool = False) -> None:
        """The scheduler's events are of the newer form: no count, no first and last time."""
        exact = self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        made = self._head(pod) | {
            "involvedObject": _involved(PODS, pod),
            "reason": reason,
            "message": message,
            "source": {},
            "firstTimestamp": None,
            "lastTimestamp": None,
            "type": "Warning" if warning else "Normal",
            "eventTime": exact,
            "action": "Scheduling" if warning else "Binding",
            "reportingComponent": "default-scheduler",
            "reportingInstance": "default-scheduler-vm",
        }
        self._made(made, Writer("kube-scheduler"))

    def _made(self, event: Json, writer: Writer) -> None:
        made = self._store.create(EVENTS, event, writer)
        self._clock.at(self._clock.seconds() + _KEPT_SECONDS, lambda: self._expire(made))

    def _expire(self, event: Json) -> None:
        """Take it away, unless it happened again meanwhile."""
        place = (event["metadata"]["namespace"], event["metadata"]["name"])
        found = self._store.find(EVENTS, *place)
        if found is None:
            return
        last = found["lastTimestamp"] or found["metadata"]["creationTimestamp"]
        due = seconds_of(last) + _KEPT_SECONDS
        if due <= self._clock.seconds():
            self._store.remove(EVENTS, *place)
        else:
            self._clock.at(due, lambda: self._expire(event))

    def _head(self, about: Json) -> Json:
        self._number += 1
        name = f"{about['metadata']['name']}.{int(self._clock.seconds() * 1e9) + self._number:x}"
        namespace = about["metadata"].get("namespace", "default")
        return {"metadata": {"name": name, "namespace": namespace}}


def _involved(kind: Kind, about: Json) -> Json:
    head = about["metadata"]
    involved = {"kind": kind.kind, "namespace": head.get("namespace", ""), "name": head["name"]}
    involved |= {"uid": head["uid"], "apiVersion": kind.api_version}
    return {**involved, "resourceVersion": head["resourceVersion"]}
