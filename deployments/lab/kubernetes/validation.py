"""What the API server checks before it writes an object."""

from deployments.lab.kubernetes.kinds import Json, Kind
from deployments.lab.kubernetes.refusals import invalid, refusal
from deployments.lab.kubernetes.selectors import selects

_FREE = {
    "StatefulSet": (
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ),
}
_MUST_BE_POSITIVE = "must be greater than or equal to 0"


def check(kind: Kind, new: Json, old: Json | None = None) -> None:
    """Raises the server's 400 (not of the right type) or 422 (not valid)."""
    name = new["metadata"]["name"]
    spec = new.get("spec")
    if spec is None:
        return
    if kind.scalable:
        replicas = spec.get("replicas")
        _whole(kind, "spec.replicas", replicas)
        if replicas < 0:
            text = f"Invalid value: {replicas}: {_MUST_BE_POSITIVE}"
            raise invalid(kind.group, kind.kind, name, "spec.replicas", text)
        _check_template(kind, new, old)
    if kind.kind == "Pod":
        _check_containers(kind, name, "spec", spec)
        if old is not None and _frozen(old["spec"]) != _frozen(spec):
            text = (
                "Forbidden: pod updates may not change fields other than "
                "`spec.containers[*].image`,`spec.initContainers[*].image`,"
                "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
                "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it "
                "was previously negative)"
            )
            raise invalid("", "Pod", name, "spec", text, "FieldValueForbidden")


def _check_template(kind: Kind, new: Json, old: Json | None) -> None:
    name, spec = new["metadata"]["name"], new["spec"]
    selector, template = spec.get("selector"), spec.get("template")
    if not isinstance(template, dict) or not isinstance(template.get("spec"), dict):
        text = "Required value"
        raise invalid(kind.group, kind.kind, name, "spec.template", text, "FieldValueRequired")
    if old is not None and selector != old["spec"].get("selector"):
        text = f"Invalid value: {selector}: field is immutable"
        raise invalid(kind.group, kind.kind, name, "spec.selector", text)
    labels = template.setdefault("metadata", {}).get("labels") or {}
    if not selects(selector, labels):
        text = f"Invalid value: {labels}: `selector` does not match template `labels`"
        raise invalid(kind.group, kind.kind, name, "spec.template.metadata.labels", text)
    _check_containers(kind, name, "spec.template.spec", template["spec"])
    free = _FREE.get(kind.kind)
    if old is None or free is None:
        return
    if _without(spec, free) != _without(old["spec"], free):
        listed = "', '".join(free[:-1])
        text = (
            f"Forbidden: updates to statefulset spec for fields other than '{listed}' and "
            f"'{free[-1]}' are forbidden"
        )
        raise invalid(kind.group, kind.kind, name, "spec", text, "FieldValueForbidden")


def _check_containers(kind: Kind, name: str, where: str, spec: Json) -> None:
    containers = spec.get("containers")
    if not isinstance(containers, list) or not containers:
        field, reason = f"{where}.containers", "FieldValueRequired"
        raise invalid(kind.group, kind.kind, name, field, "Required value", reason)
    for place, each in enumerate(containers):
        for part in ("name", "image"):
            if not isinstance(each, dict) or not each.get(part):
                field, reason = f"{where}.containers[{place}].{part}", "FieldValueRequired"
                raise invalid(kind.group, kind.kind, name, field, "Required value", reason)


def _whole(kind: Kind, field: str, value: object) -> None:
    if isinstance(value, int) and not isinstance(value, bool):
        return
    found = "string" if isinstance(value, str) else type(value).__name__
    raise refusal(
        400,
        f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: json: cannot '
        f"unmarshal {found} into Go struct field {kind.kind}Spec.{field} of type int32",
    )


def _without(spec: Json, names: tuple[str, ...]) -> Json:
    return {key: value for key, value in spec.items() if key not in names}


def _frozen(spec: Json) -> Json:
    free = ("containers", "tolerations", "activeDeadlineSeconds", "nodeName")
    kept = [_without(each, ("image",)) for each in spec["containers"]]
    return {**_without(spec, free), "containers": kept}
