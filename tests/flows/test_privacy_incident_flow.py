"""A data privacy incident on the whole stack: measured, drafted, contained, and left to people."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deployments.lab.dataset import CANARIES
from deployments.lab.patient import DATABASE
from deployments.lab.privacy_api import LOCKED
from deployments.lab.privacy_faults import release
from tasks.domain.breach_decision import Risk, decision_of
from tasks.domain.clock_alarms import DPO_MOMENT
from tasks.domain.facts import RUNBOOK, FactKind
from tasks.domain.incident import Stage
from tasks.domain.ledger import GENESIS_PREV, canonical_line, leaf_hash
from tasks.work import holding, journal, judging, responder, telling
from tasks.work.people import Person, Role
from tests.flows.responding import Responding, alert_of

pytestmark = [pytest.mark.flows, pytest.mark.slow]

_ALERT = {"alertname": "AnnotatorDataPublished", "severity": "critical", "category": "privacy"}
_PEOPLE = "SELECT count(DISTINCT annotator), min(annotator) FROM annotations"
_DORA = Person("dora", Role.PRIVACY_OFFICER)


def test_a_privacy_incident_is_measured_drafted_contained_and_never_closes_by_itself(
    responding: Responding,
) -> None:
    with responding.lab.patient.connect(DATABASE) as connection:
        row = connection.execute(_PEOPLE).fetchone()
    assert row is not None
    name = responding.notify(alert_of(_ALERT))
    responding.until_note(name, "the risk is undecided")
    responding.until_idle(name)
    state = journal.read(name)
    scope = responding.until_fact(name, FactKind.PRIVACY_SCOPED).data["scope"]
    assert scope["people"] == row[0]
    assert all(part["rows"] is not None for part in scope["parts"])
    assert {"dpo", "gdpr-33"} == {*state.clocks}
    drafts = {fact.data["clock"] for fact in responding.facts(name, FactKind.NOTICE_DRAFTED)}
    assert drafts == {"gdpr-33", "gdpr-34", "gdpr-33-5"}
    assert holding.RELEASES in {hold.scope for hold in state.held()}
    assert_contained_before_it_was_measured(responding, name)
    assert release(responding.lab, "anon-nobody", 0.1) == LOCKED
    assert (state.stage, state.plan, state.mitigated_at) == (Stage.OPEN, None, None)
    assert_told_once(responding, name)

    responding.run_again(name)  # a run that begins again starts no clock and tells nobody twice
    again = journal.read(name)
    assert again.clocks == state.clocks
    assert len(responding.facts(name, FactKind.CLOCK_STARTED)) == len(state.clocks)
    assert len([hold for hold in again.held() if hold.scope == holding.RELEASES]) == 1
    assert_told_once(responding, name)

    judging.decide(name, _DORA, Risk.UNLIKELY, "the ids mean nothing outside")
    responding.run_again(name)
    state = journal.read(name)
    assert decision_of(state) is not None
    assert (state.stage, state.clocks_stopped) == (Stage.OPEN, set())
    refuse_names(responding, name, str(row[1]))


def assert_contained_before_it_was_measured(responding: Responding, incident: str) -> None:
    """Releases were refused first, and the notice to the authority says so."""
    held = next(
        fact
        for fact in responding.facts(incident, FactKind.HOLD_SET)
        if fact.data["scope"] == holding.RELEASES
    )
    assert held.seq < responding.facts(incident, FactKind.PRIVACY_SCOPED)[0].seq
    notice = responding.facts(incident, FactKind.NOTICE_DRAFTED)[0]
    assert f"changes of {holding.RELEASES} refused since" in json.dumps(notice.data)


def assert_told_once(responding: Responding, incident: str) -> None:
    """The DPO hears of it at once, and once more when it was measured."""
    said = [text for text in responding.said_in_chat() if text.startswith(f"@dpo {incident}: ")]
    for words in ("Please acknowledge", "Your decision is needed"):
        assert len([text for text in said if words in text]) == 1


def refuse_names(responding: Responding, incident: str, annotator: str) -> None:
    """No person's id and no canary in the journal, in chat, or in what Prefect keeps."""
    facts = json.dumps([fact.data for fact in journal.read(incident).facts])
    shown: list[Any] = [responding.filtered("artifacts"), responding.filtered("task_runs")]
    everything = facts + json.dumps(shown) + "".join(responding.said_in_chat())
    assert not [each for each in (annotator, "anon-", *CANARIES) if each in everything]


def test_a_dpo_who_could_not_be_told_is_told_again_and_the_deputy_hears_of_it(
    responding: Responding,
) -> None:
    name = "INC-20261123-030000-0006"
    failed = {"channel": "chat", "audience": "dpo", "moment": DPO_MOMENT, "error": "down"}
    since = datetime.now(UTC) - timedelta(minutes=6)
    clock = {"clock": "dpo", "due": (since + timedelta(hours=1)).isoformat(), "recipient": "dpo"}
    opened = {"title": "Privacy: x", "component": "privacy", "procedure": "privacy_incident"}
    write_since(
        name,
        since,
        [
            (FactKind.OPENED, opened),
            (FactKind.CLOCK_STARTED, clock),
            (FactKind.NOTIFY_FAILED, failed),
        ],
    )
    responding.until_fact(name, FactKind.ESCALATED, 2)
    responding.until_idle(name)
    steps = {fact.data["step"] for fact in responding.facts(name, FactKind.ESCALATED)}
    assert steps == {"dpo.second", "dpo.again.1"}
    said = [text for text in responding.said_in_chat() if name in text]
    assert sorted(text.split()[0] for text in said) == ["@dpo", "@dpo-deputy"]
    assert telling.was_told(journal.read(name), "dpo", telling.PRIVACY)


def write_since(incident: str, at: datetime, said: list[tuple[FactKind, dict[str, str]]]) -> None:
    """The first facts of an empty journal, as they were written that long ago."""
    prev = GENESIS_PREV
    with responder.connection() as connection:
        for seq, (kind, data) in enumerate(said):
            line = canonical_line(
                {
                    "_prev": prev,
                    "actor": RUNBOOK,
                    "at": at.isoformat(),
                    "data": data,
                    "incident": incident,
                    "kind": kind.value,
                    "seq": seq,
                }
            )
            connection.execute(
                "INSERT INTO journal (seq, incident, key, at, kind, actor, line, leaf)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                (seq, incident, f"k{seq}", at, kind.value, RUNBOOK, line, leaf_hash(line)),
            )
            prev = leaf_hash(line).hex()
