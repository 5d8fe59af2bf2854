"""A kubeconfig: where the API server is, whose certificate it has, and who asks."""

import json
from collections.abc import Mapping
from pathlib import Path

from deployments.lab.kubernetes.kinds import Json


def kubeconfig(
    server: str, authority: Path | None, tokens: Mapping[str, str], namespace: str
) -> str:
    """A context per token, `diagnose` the current one; no authority means an unverified server."""
    cluster: Json = {"server": server}
    if authority is None:
        cluster["insecure-skip-tls-verify"] = True
    else:
        cluster["certificate-authority"] = str(authority)
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "diagnose",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": name, "user": {"token": token}} for name, token in tokens.items()],
        "contexts": [
            {"name": name, "context": {"cluster": "lab", "user": name, "namespace": namespace}}
            for name in tokens
        ],
    }
    return json.dumps(content)  # JSON is YAML
