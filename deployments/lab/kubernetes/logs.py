"""Logs of containers, and the 400s of those that have none."""

from deployments.lab.kubernetes.clock import seconds_of, stamp
from deployments.lab.kubernetes.containers import Container, State
from deployments.lab.kubernetes.kinds import Json
from deployments.lab.kubernetes.refusals import refusal
from deployments.lab.kubernetes.requests import Request

Lines = list[tuple[float, str]]


def log_of(pod: Json, containers: dict[str, Container], request: Request, now: float) -> str:
    """What `GET pods/NAME/log` answers. Raises Refusal in the kubelet's words."""
    name = pod["metadata"]["name"]
    container = _chosen(pod, containers, request.one("container"))
    lines = _lines(name, container, previous=request.is_true("previous"))
    since = request.one("sinceTime")
    if since or request.one("sinceSeconds"):
        first = seconds_of(since) if since else now - _number(request, "sinceSeconds")
        lines = [each for each in lines if each[0] >= first]
    if request.one("tailLines"):
        count = _number(request, "tailLines")
        lines = lines[-count:] if count else []
    if request.is_true("timestamps"):
        lines = [(at, f"{stamp(at)} {text}") for at, text in lines]
    found = "".join(f"{text}\n" for _, text in lines)
    if request.one("limitBytes"):
        limit = _number(request, "limitBytes")
        return found.encode()[:limit].decode("utf-8", "ignore")
    return found


def _chosen(pod: Json, containers: dict[str, Container], asked: str) -> Container:
    name = pod["metadata"]["name"]
    names = [each["name"] for each in pod["spec"]["containers"]]
    if not asked and len(names) > 1:
        listed = " ".join(names)
        text = f"a container name must be specified for pod {name}, choose one of: [{listed}]"
        raise refusal(400, text)
    chosen = asked or names[0]
    if chosen not in names:
        raise refusal(400, f"container {chosen} is not valid for pod {name}")
    if chosen not in containers:
        raise refusal(400, f"pod {name} does not have a host assigned")
    return containers[chosen]


def _lines(pod: str, container: Container, *, previous: bool) -> Lines:
    last = container.last
    ended = container.state in {State.BACK_OFF, State.ENDED}
    if previous:
        if last is None or container.state is State.ENDED:
            text = f'previous terminated container "{container.name}" in pod "{pod}" not found'
            raise refusal(400, text)
        return list(last.log)
    if container.state is State.RUNNING:
        return container.log
    if ended and last is not None:
        return list(last.log)
    waiting = container.waiting() or {}
    reason = waiting.get("reason", "")
    why = {"ImagePullBackOff": "trying and failing to pull image"}.get(reason, reason)
    text = f'container "{container.name}" in pod "{pod}" is waiting to start: {why}'
    raise refusal(400, text)


def _number(request: Request, name: str) -> int:
    text = request.one(name)
    if not (text.isascii() and text.isdigit()):
        raise refusal(400, f'{name}: strconv.ParseInt: parsing "{text[:40]}": invalid syntax')
    return int(text)
