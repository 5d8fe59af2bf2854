"""Which configuration a pod template refers to, and when it was last changed, by whom. Pure.

Only metadata is looked at: what stands in a Secret is nobody's business here, and who may read it
could do more than a look needs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from tasks.domain.json_fields import Fields

_MOST = 20
_WRITERS = 64
_NAME_LIMIT = 80


class Held(StrEnum):
    """Where configuration is kept."""

    CONFIG_MAP = "ConfigMap"
    SECRET = "Secret"  # noqa: S105  a kind of Kubernetes


@dataclass(frozen=True, slots=True)
class Source:
    """One object that a template takes configuration from."""

    held: Held
    name: str

    def __str__(self) -> str:
        """For people."""
        return f"{self.held.value} {self.name}"


@dataclass(frozen=True, slots=True)
class ConfigurationChange:
    """The last change of one of them; `who` is the field manager, a stranger's word."""

    source: Source
    at: datetime | None
    who: str

    def as_json(self) -> dict[str, Any]:
        """For an observation's evidence."""
        return {"what": str(self.source), "at": self.at and self.at.isoformat(), "who": self.who}


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the template refers to: the last changes that could be read, and why others could not.

    `unread` names the missing permission.
    """

    changes: tuple[ConfigurationChange, ...]
    unread: Mapping[str, str]


def sources_of(template: object) -> tuple[Source, ...]:
    """The ConfigMaps and Secrets of a pod template, each once, at most 20. Raises BadInput."""
    spec = Fields.of("template", template).within("spec")
    found: dict[Source, None] = {}
    for kind in ("containers", "initContainers"):
        for container in spec.each(kind, _WRITERS):
            found.update(dict.fromkeys(_of_container(container)))
    for volume in spec.each("volumes", _WRITERS):
        found.update(dict.fromkeys(_of_volume(volume)))
    return tuple(found)[:_MOST]


def last_change(source: Source, value: object) -> ConfigurationChange:
    """When an object was last written, from its metadata. Raises BadInput.

    Writers are told by managedFields; where there are none, its creation counts.
    """
    metadata = Fields.of(str(source), value).within("metadata")
    latest, who = metadata.moment("creationTimestamp"), ""
    for writer in metadata.each("managedFields", _WRITERS):
        at = writer.moment("time")
        if at is not None and (latest is None or at >= latest):
            latest, who = at, writer.text("manager", _NAME_LIMIT)
    return ConfigurationChange(source, latest, who)


def _of_container(container: Fields) -> Iterator[Source]:
    for each in container.each("envFrom", _WRITERS):
        yield from _named(each, "configMapRef", "secretRef", "name")
    for each in container.each("env", 512):
        yield from _named(each.within("valueFrom"), "configMapKeyRef", "secretKeyRef", "name")


def _of_volume(volume: Fields) -> Iterator[Source]:
    yield from _named(volume, "configMap", "", "name")
    yield from _named(volume, "", "secret", "secretName")
    for each in volume.within("projected").each("sources", _WRITERS):
        yield from _named(each, "configMap", "secret", "name")


def _named(fields: Fields, config_map: str, secret: str, key: str) -> Iterator[Source]:
    for held, name in ((Held.CONFIG_MAP, config_map), (Held.SECRET, secret)):
        found = fields.within(name).exact(key) if name else ""
        if found:
            yield Source(held, found)
