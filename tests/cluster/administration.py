"""Making, changing and removing objects as whoever owns the tests' namespace: plain JSON."""

from typing import Any, Self

import httpx

from tasks.clients.kubernetes_identity import Access

_STRATEGIC = {"content-type": "application/strategic-merge-patch+json"}
_ROOTS = {
    "Namespace": "/api/v1/namespaces",
    "Pod": "/api/v1/namespaces/{}/pods",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "StatefulSet": "/apis/apps/v1/namespaces/{}/statefulsets",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
}

Json = dict[str, Any]


class Administration:
    """One API server, as an administrator, in one namespace."""

    def __init__(self, access: Access, namespace: str) -> None:
        self.namespace = namespace
        self._extensions = {"sni_hostname": access.server_name} if access.server_name else {}
        authorization = access.authorization()
        self._client = httpx.Client(
            base_url=access.host,
            verify=True if access.tls is None else access.tls,
            headers={"authorization": authorization} if authorization else {},
            timeout=30,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def add(self, manifest: Json) -> Json:
        """Make an object; one of this name must not be there."""
        return self._asked("POST", self._place(manifest["kind"]), json=manifest)

    def change(self, kind: str, name: str, patch: Json) -> Json:
        """A strategic merge patch."""
        place = self._place(kind, name)
        return self._asked("PATCH", place, json=patch, headers=_STRATEGIC)

    def get(self, kind: str, name: str) -> Json:
        """An object as it is."""
        return self._asked("GET", self._place(kind, name))

    def remove(self, kind: str, name: str) -> None:
        """Take an object away; one that is gone already is gone."""
        answer = self._client.delete(self._place(kind, name), extensions=self._extensions)
        if answer.status_code != httpx.codes.NOT_FOUND:
            answer.raise_for_status()

    def token_of(self, account: str) -> str:
        """A token of a service account of ours, for an hour."""
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 3600},
        }
        found = self._asked("POST", f"{self._place('ServiceAccount', account)}/token", json=body)
        return str(found["status"]["token"])

    def _place(self, kind: str, name: str = "") -> str:
        root = _ROOTS[kind].format(self.namespace)
        return f"{root}/{name}" if name else root

    def _asked(self, method: str, place: str, **wanted: Any) -> Json:
        answer = self._client.request(method, place, extensions=self._extensions, **wanted)
        assert answer.is_success, f"{method} {place}: {answer.status_code} {answer.text[:500]}"
        found: Json = answer.json()
        return found
