"""Who may do what: accounts by bearer token, with rules as in a Role."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from deployments.lab.kubernetes.kinds import Json
from deployments.lab.kubernetes.refusals import forbidden
from deployments.lab.kubernetes.requests import Target

EVERYTHING = "*"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same in C, where there is one


@dataclass(frozen=True, slots=True)
class Rule:
    """What is allowed, in one namespace or in all (`*`); no names means any."""

    verbs: tuple[str, ...]
    groups: tuple[str, ...]
    resources: tuple[str, ...]
    names: tuple[str, ...] = ()
    namespace: str = EVERYTHING

    def allows(self, verb: str, group: str, resource: str, namespace: str, name: str) -> bool:
        """Whether this rule is enough."""
        wanted = ((verb, self.verbs), (group, self.groups), (resource, self.resources))
        return (
            all(value in listed or EVERYTHING in listed for value, listed in wanted)
            and (not self.names or name in self.names)
            and self.namespace in {EVERYTHING, namespace}
        )


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the API."""

    user: str
    rules: tuple[Rule, ...] = ()

    def allows(self, verb: str, group: str, resource: str, namespace: str, name: str) -> bool:
        """By any of its rules."""
        return any(each.allows(verb, group, resource, namespace, name) for each in self.rules)

    def require(self, verb: str, target: Target, name: str) -> None:
        """Raises the 403 that names what is missing."""
        group = target.kind.group
        if self.allows(verb, group, target.resource, target.namespace, name):
            return
        where = f'in the namespace "{target.namespace}"' if target.namespace else ""
        raise forbidden(
            target.kind,
            name,
            f'User "{self.user}" cannot {verb} resource "{target.resource}" in API group '
            f'"{group}" {where or "at the cluster scope"}',
        )


ANONYMOUS = Account("system:anonymous")
ADMIN = Account("kubernetes-admin", (Rule((EVERYTHING,), (EVERYTHING,), (EVERYTHING,)),))


def accounts_of(manifest: Path) -> dict[str, Account]:
    """Service accounts by name, with what a file of roles and bindings grants them.

    Raises KeyError when a binding names a role that the file does not have.
    """
    documents: list[Json] = [
        each for each in yaml.load_all(manifest.read_bytes(), Loader=_LOADER) if each
    ]
    roles = {
        (each["kind"], each["metadata"]["name"]): each
        for each in documents
        if each["kind"] in {"Role", "ClusterRole"}
    }
    found: dict[str, Account] = {}
    for binding in documents:
        if binding["kind"] not in {"RoleBinding", "ClusterRoleBinding"}:
            continue
        role = roles[binding["roleRef"]["kind"], binding["roleRef"]["name"]]
        namespace = binding["metadata"].get("namespace", "default")
        where = EVERYTHING if binding["kind"] == "ClusterRoleBinding" else namespace
        rules = tuple(_rule(each, where) for each in role["rules"])
        for subject in binding["subjects"]:
            user = f"system:serviceaccount:{subject.get('namespace', namespace)}:{subject['name']}"
            before = found.get(subject["name"], Account(user))
            found[subject["name"]] = Account(user, before.rules + rules)
    return found


def _rule(rule: Mapping[str, Iterable[str]], namespace: str) -> Rule:
    return Rule(
        tuple(rule["verbs"]),
        tuple(rule.get("apiGroups", ())),
        tuple(rule.get("resources", ())),
        tuple(rule.get("resourceNames", ())),
        namespace,
    )
