"""Which lab this process's settings point at: one at a time, and the environment is put back."""

import os
from typing import Protocol

from deployments.lab.environment import clean_environment
from tasks.settings import settings
from tasks.work import responder


class HasEnvironment(Protocol):
    """A lab, as far as this module cares."""

    @property
    def environment(self) -> dict[str, str]:
        """Variables by name."""


_before: dict[str, str] | None = None
_active: HasEnvironment | None = None


def activate(lab: HasEnvironment) -> None:
    """Point this process's settings at the lab, in place of the one before.

    Settings of clusters, clouds and databases that were in the environment are gone meanwhile.
    """
    global _before, _active  # noqa: PLW0603  there is one environment in a process
    if _before is None:
        _before = dict(os.environ)
    _active = lab
    kept = {name: _before[name] for name in clean_environment() if name in _before}
    _replace(kept | lab.environment)


def deactivate(lab: HasEnvironment) -> None:
    """Put the environment back, if it is this lab that the settings point at."""
    global _before, _active
    if _active is lab and _before is not None:
        _replace(_before)
        _before, _active = None, None


def _replace(environment: dict[str, str]) -> None:
    responder.close()
    os.environ.clear()
    os.environ.update(environment)
    settings.cache_clear()
