"""Which API server, and as whom: read by the kubernetes package, used by everything of ours.

Two identities, so that looking can never change anything: `diagnose` reads, `remediate` holds only
what remedies need. Each is a context of the kubeconfig, or a token beside the service account that
a pod has anyway. The second is never replaced by the first: without it, changes are refused.
"""

import os
import re
import ssl
from enum import StrEnum
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tasks.domain.errors import BadInput
from tasks.sections.systems import KubernetesSettings

if TYPE_CHECKING:
    from kubernetes.client import Configuration

_EXCERPT = 300
_SENDABLE = re.compile("[!-~ ]{0,16384}")
_IN_CLUSTER = "KUBERNETES_SERVICE_HOST"


class Identity(StrEnum):
    """On whose behalf a request is made."""

    DIAGNOSE = "diagnose"
    REMEDIATE = "remediate"


class Access:
    """An API server's address, our trust in it, and a header that says who we are."""

    def __init__(self, cluster: KubernetesSettings, identity: Identity = Identity.DIAGNOSE) -> None:
        """Raises BadInput when nothing is configured, or what would give the token away."""
        self._configuration = _configuration(cluster, identity)
        self.identity = identity
        self.host = str(self._configuration.host).rstrip("/")
        self.server_name = str(self._configuration.tls_server_name or "")
        self.tls = _tls(self._configuration) if self.host.startswith("https") else None

    def authorization(self) -> str:
        """For the header of that name, fresh each time: tokens expire. Empty: a certificate."""
        try:
            found = self._configuration.auth_settings().get("BearerToken", {}).get("value")
        except OSError as error:
            raise BadInput(f"cannot read the {self.identity} token: {error.strerror}") from error
        header = " ".join(str(found).split()) if found else ""
        if _SENDABLE.fullmatch(header) is None:
            raise BadInput(
                f"expected a {self.identity} token of visible ASCII, found other characters: "
                "correct it"
            )
        return header


def is_configured(cluster: KubernetesSettings) -> bool:
    """Whether a cluster is named, or we run in one.

    A kubeconfig in a home directory is somebody's own: whose cluster it names, nobody said.
    """
    return cluster.config_file is not None or _IN_CLUSTER in os.environ


def _configuration(cluster: KubernetesSettings, identity: Identity) -> "Configuration":
    if not is_configured(cluster):
        raise BadInput(
            "expected a Kubernetes configuration, found none: set RUNBOOK_KUBERNETES__CONFIG_FILE"
        )
    from kubernetes import client, config  # noqa: PLC0415  a third of a second, only when needed

    found = client.Configuration()
    try:
        if cluster.config_file is None:
            _load_token(cluster, identity, found)
        else:
            config.load_kube_config(  # type: ignore[no-untyped-call]  # as all of that package
                str(cluster.config_file),
                _context(cluster, identity) or None,
                client_configuration=found,
                persist_config=False,
            )
    except (config.ConfigException, OSError) as error:
        raise BadInput(
            f"expected a Kubernetes configuration, found none: {str(error)[:_EXCERPT]}: set "
            "RUNBOOK_KUBERNETES__CONFIG_FILE"
        ) from error
    _check_privacy(found)
    return found


def _context(cluster: KubernetesSettings, identity: Identity) -> str:
    if identity is Identity.DIAGNOSE:
        return cluster.context
    if not cluster.remediate_context:
        raise BadInput(
            "expected an identity for changes, found none: set "
            "RUNBOOK_KUBERNETES__REMEDIATE_CONTEXT to its context of the kubeconfig"
        )
    return cluster.remediate_context


def _load_token(cluster: KubernetesSettings, identity: Identity, found: "Configuration") -> None:
    from kubernetes.config import incluster_config as inside  # noqa: PLC0415  as above

    token = inside.SERVICE_TOKEN_FILENAME
    if identity is Identity.REMEDIATE:
        if cluster.remediate_token_file is None:
            raise BadInput(
                "expected an identity for changes, found none: set "
                "RUNBOOK_KUBERNETES__REMEDIATE_TOKEN_FILE to its token"
            )
        token = str(cluster.remediate_token_file)
    loader = inside.InClusterConfigLoader(  # type: ignore[no-untyped-call]  # as above
        token_filename=token, cert_filename=inside.SERVICE_CERT_FILENAME
    )
    loader.load_and_set(found)  # type: ignore[no-untyped-call]  # as above


def _check_privacy(found: "Configuration") -> None:
    place = urlsplit(str(found.host))
    if place.scheme != "https" and not _is_loopback(place.hostname or ""):
        raise BadInput(
            f"expected an API server by https, found {str(found.host)[:200]!r}: the token would "
            "be readable on the way"
        )
    if place.scheme == "https" and not found.verify_ssl:
        raise BadInput(
            "expected the API server's certificate to be verified, found insecure-skip-tls-verify: "
            "anybody on the way could take the token; name its certificate-authority"
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _tls(configuration: "Configuration") -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None)
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, configuration.key_file or None)
    except (OSError, ssl.SSLError) as error:
        raise BadInput(
            f"expected certificates of the kubeconfig to be readable: {str(error)[:_EXCERPT]}"
        ) from error
    return context
