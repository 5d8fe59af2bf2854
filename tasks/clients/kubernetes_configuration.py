"""When the configuration of a workload was changed last: ConfigMaps and Secrets, metadata alone."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from tasks.clients.errors import ClientError
from tasks.clients.kubernetes_api import Api
from tasks.clients.kubernetes_workloads import read
from tasks.domain.alertmanager import clean
from tasks.domain.configuration import Configuration, Held, last_change, sources_of

_PLURALS = {Held.CONFIG_MAP: "configmaps", Held.SECRET: "secrets"}
_REASON_LIMIT = 300


def configuration(api: Api, template: Mapping[str, Any]) -> Configuration:
    """The last change of all that a pod template refers to.

    One that cannot be read is named with the reason (the missing permission), and is no error.
    """
    changes, unread = [], {}
    for source in read(template, sources_of):
        try:
            found = api.metadata(api.here(_PLURALS[source.held], source.name))
            changes.append(read(found, partial(last_change, source)))
        except ClientError as error:
            unread[str(source)] = clean(str(error), _REASON_LIMIT)
    return Configuration(tuple(changes), unread)
