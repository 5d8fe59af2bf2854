"""The mailboxes of a lab take what Apprise's JSON plugin sends, and a full one refuses it."""

import json
from dataclasses import dataclass
from typing import cast

import pytest
from pydantic import SecretStr

from deployments.lab import mailbox
from deployments.lab.errors import LabError
from deployments.lab.services import Service
from tasks.clients import reach
from tasks.clients.errors import Transient
from tests.gateway.stack import served

pytestmark = pytest.mark.components

TOKEN = "a-password"


@dataclass
class Box:
    """As much of a lab's service as its clients look at."""

    url: str
    token: str = TOKEN

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


def test_a_letter_arrives_in_its_roles_box_and_a_full_one_takes_none() -> None:
    with served(mailbox.create_app(TOKEN)) as url:
        box = cast("Service", Box(url))
        known = json.loads(mailbox.environment(box)["RUNBOOK_REACH__URLS"])
        assert set(known) == set(mailbox.ROLES)
        (dpo,), (deputy,) = known["dpo"], known["dpo_deputy"]
        mailbox.fill(box, "dpo")
        with pytest.raises(Transient):
            reach.send(SecretStr(dpo), "t", "for the DPO", timeout_seconds=5)
        reach.send(SecretStr(deputy), "t", "for the deputy", timeout_seconds=5)
        stranger = deputy.replace(TOKEN, "another")
        with pytest.raises(Transient):
            reach.send(SecretStr(stranger), "t", "x", timeout_seconds=5)
        (letter,) = mailbox.letters(box)
    assert letter == {"role": "dpo_deputy", "title": "t", "text": "for the deputy"}


def test_a_lab_without_mailboxes_has_no_letters_and_none_to_fill() -> None:
    assert mailbox.letters(None) == []
    with pytest.raises(LabError, match=r"Options\.mail"):
        mailbox.fill(None, "dpo")
