"""Evidence of the cluster: objects of the namespace as they are, images by digest, whole logs.

Read with the identity that only looks. A container's log is lost with its pod, and the one of the
process before with the next restart.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

from tasks.clients import kubernetes_evidence, kubernetes_pods
from tasks.clients.kubernetes_api import Api
from tasks.clients.kubernetes_evidence import LISTINGS, Listing
from tasks.domain.collection import Part, Volatility
from tasks.domain.pod_images import images_of
from tasks.domain.pod_logs import LogSource, log_sources
from tasks.settings import Settings
from tasks.work.evidence_pieces import Piece, Wanted, as_json, as_stream, own_version, single

_CLUSTER = "the API of Kubernetes"
_VOLATILE = frozenset({"pods", "events"})
MOST_LOGS = 500
"""Logs of containers, those in trouble first."""


def cluster_objects(known: Settings) -> Iterator[Wanted]:
    """Each kind by itself, and which images run."""
    source = f"namespace {known.kubernetes.namespace}"
    for listing in LISTINGS:
        is_volatile = listing.plural in _VOLATILE
        yield single(
            Part(
                f"cluster.{listing.plural}",
                f"{listing.kind.removesuffix('List')} objects",
                Volatility.CONNECTIONS if is_volatile else Volatility.CONFIGURATION,
            ),
            _CLUSTER,
            source,
            partial(as_json, partial(_objects, known, listing)),
            arguments=(f"list {listing.plural}",),
        )
    yield single(
        Part("cluster.images", "Images of containers, by digest", Volatility.CONFIGURATION),
        _CLUSTER,
        source,
        partial(as_json, lambda: images_of(_objects(known, LISTINGS[0]))),
        arguments=("list pods",),
    )


def pod_logs(known: Settings) -> Wanted:
    """Of every container, the process before it included."""
    part = Part("cluster.logs", "Logs of containers", Volatility.WRITABLE)
    return Wanted(part, _CLUSTER, partial(_logs, known))


def _objects(known: Settings, listing: Listing) -> list[dict[str, Any]]:
    return kubernetes_evidence.objects(_api(known), listing)


def _logs(known: Settings) -> Iterator[Piece]:
    sources = log_sources(kubernetes_pods.pods(_api(known)))
    left_out = len(sources) - MOST_LOGS
    for number, source in enumerate(sources[:MOST_LOGS], 1):
        is_last = number == MOST_LOGS and left_out > 0
        yield _log(known, source, f"logs of {left_out} other containers are left out" * is_last)


def _log(known: Settings, source: LogSource, remarks: str) -> Piece:
    previous = ".previous" if source.previous else ""
    seconds = known.evidence.item_seconds

    def read() -> Iterator[bytes]:
        return kubernetes_evidence.log_pieces(
            _api(known), source.pod, source.container, previous=source.previous, seconds=seconds
        )

    return Piece(
        Part(
            f"logs.{source.pod}.{source.container}{previous}",
            f"Log of {source}",
            Volatility.WRITABLE,
        ),
        f"pod {source.pod}",
        partial(as_stream, read),
        version=own_version(),
        arguments=(f"log {source}",),
        remarks=remarks,
    )


def _api(known: Settings) -> Api:
    """Made when it is asked: without a configuration the part is skipped, which says so."""
    return Api(known.kubernetes)
