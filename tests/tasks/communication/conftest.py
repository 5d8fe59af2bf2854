"""The responder's database and loopback services that people are reached by; no Prefect."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from deployments.lab.chat import create_app as create_chat
from deployments.lab.pagerduty import Account
from deployments.lab.pagerduty import create_app as create_pagerduty
from tasks.settings import settings
from tests.gateway.conftest import database, lab_processes, migrated, server
from tests.gateway.stack import served

__all__ = ["database", "lab_processes", "migrated", "server"]

TOKEN = "xoxb-test"
ROUTING_KEY = "R0000000000000000000000000000001"
API_TOKEN = "y_NbAkKc66ryYTWUXYEu"


@dataclass(frozen=True)
class Chat:
    """The loopback Slack."""

    url: str

    @property
    def said(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.url}/_messages").raise_for_status().json()
        return found

    def texts(self, channel: str | None) -> list[str]:
        """What stands in a channel outside of threads."""
        return [
            one["text"]
            for one in self.said["messages"]
            if one["channel"] == channel and "thread_ts" not in one
        ]

    def thread(self, channel: str | None) -> list[str]:
        return [
            one["text"]
            for one in self.said["messages"]
            if one["channel"] == channel and "thread_ts" in one
        ]


def setting(patch: pytest.MonkeyPatch, name: str, value: object) -> None:
    """A variable of ours, read again at once."""
    patch.setenv(f"RUNBOOK_{name}", value if isinstance(value, str) else json.dumps(value))
    settings.cache_clear()


@pytest.fixture
def chat(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chat]:
    assert database
    with served(create_chat(TOKEN, per_minute=10_000)) as url:
        setting(monkeypatch, "CHAT__URL", f"{url}/api")
        setting(monkeypatch, "CHAT__TOKEN", TOKEN)
        yield Chat(url)


@pytest.fixture
def pagerduty(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    assert database
    account = Account(ROUTING_KEY, API_TOKEN, per_minute=20)
    with served(create_pagerduty(account)) as url:
        setting(monkeypatch, "PAGERDUTY__EVENTS_URL", url)
        setting(monkeypatch, "PAGERDUTY__API_URL", url)
        setting(monkeypatch, "PAGERDUTY__ROUTING_KEY", ROUTING_KEY)
        setting(monkeypatch, "PAGERDUTY__API_TOKEN", API_TOKEN)
        yield account
