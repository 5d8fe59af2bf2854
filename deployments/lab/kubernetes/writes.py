"""Changes through the API: create, update, patch, delete, evict, scale."""

from collections.abc import Mapping
from dataclasses import dataclass

from deployments.lab.kubernetes.controllers import Controllers
from deployments.lab.kubernetes.documents import completed, scale_of, suffix
from deployments.lab.kubernetes.kinds import CLAIMS, KINDS, NAMESPACES, PODS, Json, copied
from deployments.lab.kubernetes.lists import list_of
from deployments.lab.kubernetes.ownership import Writer, contested
from deployments.lab.kubernetes.patch_requests import APPLY, patched
from deployments.lab.kubernetes.patches import strategic_patched
from deployments.lab.kubernetes.refusals import conflict, details_of, invalid, not_found, refusal
from deployments.lab.kubernetes.requests import Request, Target
from deployments.lab.kubernetes.store import Store
from deployments.lab.kubernetes.validation import check
from deployments.lab.kubernetes.watches import typed

_KEPT = ("name", "namespace", "generateName", "deletionTimestamp", "deletionGracePeriodSeconds")


@dataclass(frozen=True, slots=True)
class Writes:
    """Each method answers with the object (or Status) that the real server shows."""

    store: Store
    controllers: Controllers

    def create(self, target: Target, request: Request) -> Json:
        """POST to a collection."""
        kind, content = target.kind, request.object()
        head = dict(content.get("metadata") or {})
        if kind.namespaced and self.store.find(NAMESPACES, "", target.namespace) is None:
            raise not_found(NAMESPACES, target.namespace)
        if head.get("namespace", target.namespace) != target.namespace:
            text = (
                "the namespace of the provided object does not match the namespace sent on the "
                "request"
            )
            raise refusal(400, text)
        if kind.namespaced:
            head["namespace"] = target.namespace
        if not head.get("name") and head.get("generateName"):
            head["name"] = f"{head['generateName']}{suffix()}"
        if not head.get("name"):
            text = "Required value: name or generateName is required"
            raise invalid(kind.group, kind.kind, "", "metadata.name", text, "FieldValueRequired")
        content = {**content, "metadata": head}
        writer = Writer(request.manager)
        return typed(kind, self.made(target, content, writer, dry=request.is_dry))

    def made(self, target: Target, content: Json, writer: Writer, *, dry: bool = False) -> Json:
        """A new object of a kind, checked and with its defaults."""
        kind = target.kind
        if kind is PODS:
            check(kind, content)
            return self.controllers.admit(content, writer, dry=dry)
        if kind.scalable:
            content = {**content, "spec": {"replicas": 1, **content.get("spec", {})}}
        check(kind, content)
        content = completed(kind, content)
        if kind is NAMESPACES:
            labels = content["metadata"].get("labels") or {}
            name = content["metadata"]["name"]
            content["metadata"]["labels"] = {**labels, "kubernetes.io/metadata.name": name}
            content["status"] = {"phase": "Active"}
        elif kind.scalable:
            content["status"] = {}
        return self.store.create(kind, content, writer, dry=dry)

    def update(self, target: Target, request: Request) -> Json:
        """PUT."""
        return self._written(target, request, request.object(), self._old(target))

    def patch(self, target: Target, request: Request) -> Json:
        """PATCH, in any of the four ways."""
        if target.subresource == "scale":
            return self.scale(target, request)
        if request.content_type == APPLY:
            return self._applied(target, request)
        old = self._old(target)
        return self._written(target, request, patched(request, typed(target.kind, old)), old)

    def scale(self, target: Target, request: Request) -> Json:
        """Replicas through their own subresource; dry runs and conflicts as elsewhere."""
        old = self._old(target)
        before = scale_of(old)
        asked = request.object() if request.method == "PUT" else patched(request, before)
        asked_replicas = asked.get("spec", {}).get("replicas", 0)
        name = target.name
        if not isinstance(asked_replicas, int) or isinstance(asked_replicas, bool):
            text = (
                'Scale in version "v1" cannot be handled as a Scale: json: cannot unmarshal '
                "string into Go struct field ScaleSpec.spec.replicas of type int32"
            )
            raise refusal(400, text)
        if asked_replicas < 0:
            text = f"Invalid value: {asked_replicas}: must be greater than or equal to 0"
            raise invalid("autoscaling", "Scale", name, "spec.replicas", text)
        changed = copied(old)
        changed["spec"]["replicas"] = asked_replicas
        changed["metadata"]["resourceVersion"] = asked["metadata"].get("resourceVersion")
        writer = Writer(request.manager, "scale")
        return scale_of(self._updated(target, changed, writer, old, dry=request.is_dry))

    def delete(self, target: Target, request: Request) -> Json:
        """DELETE of one object: pods in their time, all else at once."""
        old = self._old(target)
        options = request.object()
        _check_preconditions(target, old, options.get("preconditions") or {})
        grace = options.get("gracePeriodSeconds")
        if request.one("gracePeriodSeconds").isdigit():
            grace = int(request.one("gracePeriodSeconds"))
        policy = options.get("propagationPolicy") or request.one("propagationPolicy")
        dry = request.is_dry or options.get("dryRun") == ["All"]
        if target.kind is PODS:
            if not dry:
                self.controllers.stop(old, None if grace is None else float(grace))
            left = self.store.find(PODS, target.namespace, target.name)
            return typed(PODS, left or old)
        if not dry:
            if policy == "Orphan":
                self._orphan(old)
            if target.kind is NAMESPACES:
                self._empty(target.name)
            self.store.remove(target.kind, target.namespace, target.name)
        if target.kind is NAMESPACES:
            return typed(NAMESPACES, {**old, "status": {"phase": "Terminating"}})
        details = {**details_of(target.kind, target.name), "uid": old["metadata"]["uid"]}
        return {**_success(), "details": details}

    def delete_all(self, target: Target, request: Request, items: list[Json]) -> Json:
        """DELETE of a collection."""
        if not request.is_dry:
            for each in items:
                if target.kind is PODS:
                    self.controllers.stop(each)
                else:
                    head = each["metadata"]
                    self.store.remove(target.kind, head.get("namespace", ""), head["name"])
        return list_of(target.kind, items, {"resourceVersion": str(self.store.version)})

    def evict(self, target: Target, request: Request) -> Json:
        """POST pods/NAME/eviction. Raises the 429 of a disruption budget."""
        pod = self._old(target)
        options = request.object().get("deleteOptions") or {}
        _check_preconditions(target, pod, options.get("preconditions") or {})
        refused = self.controllers.budgets.refusal_of(pod)
        if refused is not None:
            raise refused
        if not request.is_dry and options.get("dryRun") != ["All"]:
            grace = options.get("gracePeriodSeconds")
            self.controllers.stop(pod, None if grace is None else float(grace))
            self.controllers.budgets.look()  # the next one counts this one, before anything settles
        return {**_success(), "code": 201}

    def _old(self, target: Target) -> Json:
        return self.store.get(target.kind, target.namespace, target.name)

    def _written(self, target: Target, request: Request, new: Json, old: Json) -> Json:
        head, before = new.get("metadata"), old["metadata"]
        if not isinstance(head, dict) or head.get("name", target.name) != target.name:
            found = head.get("name") if isinstance(head, dict) else None
            text = (
                f"the name of the object ({found}) does not match the name on the URL "
                f"({target.name})"
            )
            raise refusal(400, text)
        if head.get("uid", before["uid"]) != before["uid"]:
            raise conflict(target.kind, target.name, _precondition("UID", head["uid"], before))
        head = {key: value for key, value in head.items() if value and key not in _KEPT}
        head |= {key: before[key] for key in _KEPT if key in before}
        new = {**new, "metadata": head}
        part = "status" if target.subresource == "status" else ""
        if part:
            new = {**copied(old), "metadata": head, "status": new.get("status")}
        elif "status" in old:
            new["status"] = old["status"]
        else:
            new.pop("status", None)
        writer = Writer(request.manager, part)
        done = self._updated(target, new, writer, old, dry=request.is_dry)
        return typed(target.kind, done)

    def _updated(self, target: Target, new: Json, writer: Writer, old: Json, *, dry: bool) -> Json:
        version = new["metadata"].get("resourceVersion")
        if version not in {None, "", old["metadata"]["resourceVersion"]}:
            raise conflict(target.kind, target.name)
        if target.kind.scalable and "spec" in new and new["spec"].get("replicas") is None:
            new = {**new, "spec": {**new["spec"], "replicas": 1}}
        check(target.kind, new, old)
        if target.kind is CLAIMS:
            self.controllers.volumes.admit(old, new)
        if target.kind.scalable:
            new = completed(target.kind, new)
        return self.store.update(target.kind, new, writer, dry=dry)

    def _applied(self, target: Target, request: Request) -> Json:
        """Server-side apply: fields of others with other values are a conflict unless forced."""
        applied = request.object()
        manager = request.one("fieldManager")
        if not manager:
            text = 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is '
            raise refusal(422, f"{text}required for apply patch")
        old = self.store.find(target.kind, target.namespace, target.name)
        if old is None:
            head = {**(applied.get("metadata") or {}), "name": target.name}
            if target.namespace:
                head["namespace"] = target.namespace
            content = {**applied, "metadata": head}
            writer = Writer(manager, operation="Apply")
            return typed(target.kind, self.made(target, content, writer, dry=request.is_dry))
        entries = old["metadata"].get("managedFields", [])
        causes = contested(entries, old, applied, manager)
        if causes and not request.is_true("force"):
            text = f"Apply failed with {len(causes)} conflict{'s' if len(causes) > 1 else ''}: "
            text += "; ".join(f"{each['message']}: {each['field']}" for each in causes)
            raise refusal(409, text, {"causes": causes})
        merged = strategic_patched(typed(target.kind, old), applied)
        merged["metadata"].pop("managedFields", None)
        writer = Writer(manager, operation="Apply")
        if "status" in old:
            merged["status"] = old["status"]
        return typed(target.kind, self._updated(target, merged, writer, old, dry=request.is_dry))

    def _orphan(self, owner: Json) -> None:
        uid = owner["metadata"]["uid"]
        for kind in KINDS:
            for each in self.store.items(kind, owner["metadata"].get("namespace", "")):
                references = each["metadata"].get("ownerReferences", [])
                if any(reference["uid"] == uid for reference in references):
                    changed = copied(each)
                    left = [ref for ref in references if ref["uid"] != uid]
                    changed["metadata"]["ownerReferences"] = left
                    self.store.update(kind, changed, Writer(""))

    def _empty(self, namespace: str) -> None:
        for kind in KINDS:
            if kind.namespaced:
                for each in self.store.items(kind, namespace):
                    if kind is PODS:
                        self.controllers.stop(each, 0)
                    else:
                        self.store.remove(kind, namespace, each["metadata"]["name"])


def _check_preconditions(target: Target, old: Json, wanted: Mapping[str, str]) -> None:
    head = old["metadata"]
    if wanted.get("uid", head["uid"]) != head["uid"]:
        raise conflict(target.kind, target.name, _precondition("UID", wanted["uid"], head))
    version = wanted.get("resourceVersion", head["resourceVersion"])
    if version != head["resourceVersion"]:
        text = _precondition("ResourceVersion", version, head)
        raise conflict(target.kind, target.name, text)


def _precondition(what: str, asked: str, head: Json) -> str:
    own = head["uid" if what == "UID" else "resourceVersion"]
    return f"Precondition failed: {what} in precondition: {asked}, {what} in object meta: {own}"


def _success() -> Json:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
