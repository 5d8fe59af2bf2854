"""The last lines of every container of the namespace, read at once under one time-out."""

import time
from dataclasses import dataclass
from functools import partial

from tasks.clients import kubernetes_pods
from tasks.clients.errors import ClientError
from tasks.clients.kubernetes_api import Api
from tasks.clients.kubernetes_pods import ContainerLog
from tasks.domain.errors import BadInput
from tasks.domain.log_lines import LogLine
from tasks.domain.pod_logs import LogSource, log_lines, log_sources
from tasks.domain.selectors import Selector
from tasks.sections.systems import KubernetesSettings
from tasks.work.at_once import at_once

LINES = 200
"""Of each container: twice what the runbook's command shows."""

BYTES = 256 * 1024
"""Of each container."""

SOURCES = 100
"""Containers that are read at most, those in trouble first."""

_WHY_SHOWN = 3


@dataclass(frozen=True, slots=True)
class PodLogs:
    """`read` of `sources` logs were read; `unread` says of some others why not."""

    lines: tuple[LogLine, ...]
    sources: int
    read: int
    unread: tuple[str, ...]


def read_pod_logs(cluster: KubernetesSettings, selector: Selector | None = None) -> PodLogs:
    """Of all pods of the namespace, or of those that a selector means; crashed containers' too.

    What was not read in time is left out and counted. Raises the ClientError when the pods cannot
    be listed or none of their logs be read, BadInput when no cluster is configured.
    """
    end = time.monotonic() + cluster.api_seconds
    api = Api(cluster)
    sources = log_sources(kubernetes_pods.pods(api, selector))
    looks = {place: partial(_log, api, each) for place, each in enumerate(sources[:SOURCES])}
    found = at_once(looks, end - time.monotonic())
    logs = {place: each for place, each in found.items() if isinstance(each, ContainerLog)}
    errors = [each for each in found.values() if isinstance(each, ClientError)]
    if errors and not logs:
        raise errors[0]
    whys = [each.absent for each in logs.values() if each.absent] + [str(each) for each in errors]
    there = {place: each for place, each in logs.items() if not each.absent}
    return PodLogs(
        lines=tuple(
            line for place, each in there.items() for line in log_lines(sources[place], each.text)
        ),
        sources=len(sources),
        read=len(there),
        unread=tuple(dict.fromkeys(whys))[:_WHY_SHOWN],
    )


def _log(api: Api, source: LogSource) -> ContainerLog:
    try:
        return kubernetes_pods.log(
            api,
            source.pod,
            source.container,
            lines=LINES,
            previous=source.previous,
            limit=BYTES,
        )
    except BadInput as error:  # a name that no pod can have, and that no request may carry
        return ContainerLog(source.pod, source.container, source.previous, "", str(error))
