"""What batches of notifications do in a real PostgreSQL: groups, windows, causes, orders."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tasks.clients.errors import Transient
from tasks.domain.alertmanager import parse
from tasks.domain.breach_clocks import suspected_at
from tasks.domain.facts import FactKind
from tasks.domain.outcome import Ending, Outcome
from tasks.domain.severity import Severity
from tasks.settings import settings
from tasks.work import ending, incidents, journal, quarantine, responder
from tasks.work.intake import Received, Taken, take
from tests.gateway.sample_flows import plan_for

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("database")]

BEGAN = "2026-11-23T12:05:46.114Z"


def alert(
    name: str, fingerprint: str, status: str = "firing", starts_at: str = BEGAN, **labels: str
) -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": name, **labels},
        "annotations": {},
        "startsAt": starts_at,
        "fingerprint": fingerprint,
    }


def received(*alerts: dict[str, Any], **more: Any) -> Received:
    body = json.dumps({"version": "4", "alerts": list(alerts), **more}).encode()
    return Received(body, parse(body))


def one(*alerts: dict[str, Any], **more: Any) -> Taken:
    (taken,) = take([received(*alerts, **more)])
    return taken


def rows(query: str) -> list[tuple[Any, ...]]:
    with responder.connection() as connection:
        return connection.execute(query.encode()).fetchall()


def orders() -> list[tuple[Any, ...]]:
    return rows("SELECT incident, priority, component, cap FROM dispatches ORDER BY id")


def use_policy(path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(text, encoding="utf-8")
    monkeypatch.setenv("RUNBOOK_GATEWAY__POLICY_FILE", str(path))
    settings.cache_clear()


POLICY = """
[[routes]]
name = "by-shard"
matchers = ['alertname="ShardSlow"']
component = "shard"
procedure = "triage"
title = "Shard: slow"
owner = "engineering_lead"
remedy = "manual"
severity = "P3"
group_by = ["shard"]
window = "5m"
max_responses = 3

[[routes]]
name = "rest"
matchers = []
component = "unknown"
procedure = "triage"
title = "Alert"
owner = "on_call"
remedy = "manual"
"""


def test_a_batch_is_as_good_as_its_notifications_one_by_one() -> None:
    taken = take(
        [
            received(alert("DatabaseDown", "d1"), alert("RedisDown", "r1")),
            received(alert("DatabaseDown", "d2")),
            received(alert("DatabaseDown", "d1"), alert("RedisDown", "r1")),
        ]
    )
    database, cache = taken[0].opened
    assert taken[1].joined == (database,)
    assert taken[2].duplicate
    assert [each.new_alerts for each in taken] == [2, 1, 0]
    assert {row[0] for row in orders()} == {database, cache}
    fired = [fact.kind for fact in journal.read(database).facts]
    assert fired.count(FactKind.ALERT_RECEIVED) == 2


def test_the_order_says_component_cap_and_how_urgent_it_is() -> None:
    (incident,) = one(alert("PotentialDataExfiltration", "x1", category="security")).opened
    assert orders() == [(incident, Severity.P0.rank, "security", 2)]


def test_something_worse_that_joins_makes_the_waiting_order_more_urgent() -> None:
    one(alert("SuspiciousAuthenticationPattern", "s1", category="security"))
    before = orders()[0][1]
    one(alert("PotentialDataExfiltration", "x1", category="security"))
    assert (before, [row[1] for row in orders()]) == (Severity.P1.rank, [Severity.P0.rank])


def test_what_the_policy_says_of_an_incident_is_among_its_facts() -> None:
    (incident,) = one(alert("CriticalComplianceViolation", "c1", category="compliance")).opened
    state = journal.read(incident)
    assert (state.owner, state.remedy, state.approvers_needed) == (
        "compliance_officer",
        "manual",
        1,
    )
    assert state.alerts[0]["rule"].startswith("class.")
    assert state.facts[0].data["policy"]


def test_database_down_explains_api_errors() -> None:
    (database,) = one(alert("DatabaseDown", "d1", category="infrastructure")).opened
    assert one(alert("HighErrorRate", "e1", category="operational")).joined == (database,)
    journal.append(database, FactKind.CLOSED, {"outcome": "restored"})
    (api,) = one(alert("HighErrorRate", "e2", category="operational")).opened
    assert journal.read(api).component == "api"


def test_cause_and_effect_of_one_batch_join_whatever_their_order() -> None:
    first = received(
        alert("HighErrorRate", "e1", category="operational"),
        alert("DatabaseDown", "d1", category="infrastructure"),
    )
    (taken,) = take([first])
    (incident,) = taken.opened
    assert journal.read(incident).component == "database"


def test_cause_that_comes_later_is_named_in_the_incident_of_its_effect() -> None:
    (api,) = one(alert("HighErrorRate", "e1", category="operational")).opened
    (database,) = one(alert("DatabaseDown", "d1", category="infrastructure")).opened
    notes = [f.data["text"] for f in journal.read(api).facts if f.kind is FactKind.NOTE]
    assert notes == [f"{database} (database) may explain this incident"]


def test_a_cause_of_long_ago_explains_nothing() -> None:
    (database,) = one(alert("DiskSpaceLow", "d1", category="infrastructure")).opened
    with responder.connection() as connection:
        connection.execute(
            "UPDATE open_incidents SET newest_alert_at = newest_alert_at - interval '2 hours'"
        )
    (api,) = one(alert("ApplicationDown", "a1", category="operational")).opened
    assert journal.read(api).component == "api"
    assert api != database


def test_labels_divide_a_component_and_the_window_ends_a_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_policy(tmp_path / "policy.toml", POLICY, monkeypatch)
    taken = one(alert("ShardSlow", "a", shard="1"), alert("ShardSlow", "b", shard="2"))
    first, second = taken.opened
    assert one(alert("ShardSlow", "c", shard="2")).joined == (second,)
    with responder.connection() as connection:
        connection.execute(
            "UPDATE open_incidents SET newest_alert_at = newest_alert_at - interval '6 minutes'"
            " WHERE incident = %s",
            (first,),
        )
    (third,) = one(alert("ShardSlow", "d", shard="1")).opened
    assert one(alert("ShardSlow", "e", shard="1")).joined == (third,)
    assert {row[1:] for row in orders()} == {(Severity.P3.rank, "shard", 3)}


def test_heartbeat_opens_nothing_and_beats_with_every_copy() -> None:
    beat = alert("Watchdog", "w1")
    one(beat)
    with responder.connection() as connection:
        connection.execute("UPDATE heartbeats SET last_at = last_at - interval '1 hour'")
    assert one(beat).duplicate
    ((age,),) = rows("SELECT clock_timestamp() - last_at FROM heartbeats")
    assert age < timedelta(minutes=1)
    assert rows("SELECT count(*) FROM journal") == [(0,)]


def test_what_lay_in_the_spool_keeps_its_own_time_and_is_no_beat_of_now() -> None:
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    late = received(alert("Watchdog", "w1"), alert("DatabaseDown", "d1"))
    (taken,) = take([Received(late.body, late.notification, "spool", hour_ago)])
    assert rows("SELECT last_at, last_at FROM heartbeats") == [(hour_ago, hour_ago)]
    (kept,) = journal.read(taken.opened[0]).alerts
    assert kept["received_at"] == hour_ago.isoformat()


def test_one_that_cannot_be_admitted_is_kept_aside_and_the_others_are_taken() -> None:
    with responder.connection() as connection:  # as if a bug or a full disk met only this alert
        connection.execute(
            "ALTER TABLE alerts ADD CONSTRAINT odd CHECK (fingerprint <> 'odd')",
        )
    taken = take(
        [
            received(alert("DatabaseDown", "d1")),
            received(alert("DatabaseDown", "odd")),
            received(alert("RedisDown", "r1")),
        ]
    )
    assert [each.not_admitted for each in taken] == [False, True, False]
    assert rows("SELECT count(*) FROM notifications") == [(3,)]
    count, (newest,) = quarantine.newest(1)
    assert count == 1
    assert "not admitted" in newest["reason"]


def test_what_cannot_even_be_quarantined_is_not_stored_and_counts_when_it_comes_again() -> None:
    odd = received(alert("DatabaseDown", "odd"))
    with responder.connection() as connection:
        connection.execute("ALTER TABLE alerts ADD CONSTRAINT odd CHECK (fingerprint <> 'odd')")
        connection.execute("ALTER TABLE quarantine ADD CONSTRAINT closed CHECK (size < 0)")
    with pytest.raises(psycopg.errors.CheckViolation):
        take([odd])
    with responder.connection() as connection:
        connection.execute("ALTER TABLE alerts DROP CONSTRAINT odd")
    (taken,) = take([odd])
    assert (taken.duplicate, taken.new_alerts) == (False, 1)


def test_a_database_that_only_reads_is_away_and_no_reason_for_quarantine(database: str) -> None:
    name = database.rpartition("/")[2].partition("?")[0]
    with responder.connection() as connection:
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
    responder.close()
    with pytest.raises(Transient):
        one(alert("DatabaseDown", "d1"))


def test_a_second_run_waits_a_little_and_a_more_urgent_one_does_not() -> None:
    (incident,) = one(alert("SuspiciousAuthenticationPattern", "s1", category="security")).opened
    journal.append(incident, FactKind.RUN_STARTED, {"flow_run": "r"})
    journal.append(
        incident,
        FactKind.SEVERITY_ASSIGNED,
        {"severity": "P1", "rule": "class.p1.authentication", "reason": "r"},
    )
    finish_orders()
    one(alert("SuspiciousAuthenticationPattern", "s2", category="security"))
    assert [row[0] for row in rows(WAITS)] == [True]
    one(alert("PotentialDataExfiltration", "x1", category="security"))
    assert [row[0] for row in rows(WAITS)] == [False]


WAITS = "SELECT lease_until IS NOT NULL FROM dispatches WHERE done_at IS NULL"


def finish_orders() -> None:
    with responder.connection() as connection:
        connection.execute("UPDATE dispatches SET done_at = now(), result = 'manual'")


def test_a_plan_before_a_person_is_not_disturbed() -> None:
    (incident,) = one(alert("AuditLogStorageIssue", "a1", category="audit")).opened
    plan = plan_for(incident)
    journal.append(incident, FactKind.PLAN_PROPOSED, {"plan": plan.as_json(), "hash": plan.hash})
    finish_orders()
    one(alert("AuditLogStorageIssue", "a2", category="audit"))
    assert len(orders()) == 1


def begin(incident: str, severity: Severity = Severity.P2) -> None:
    """As if a child had taken the incident's order and its run had assessed it."""
    with responder.connection() as connection:
        connection.execute("UPDATE dispatches SET holder = 'h' WHERE done_at IS NULL")
    journal.append(incident, FactKind.RUN_STARTED, {"flow_run": "r"})
    data = {"severity": severity.value, "rule": "class.p2.component", "reason": "as assessed"}
    journal.append(incident, FactKind.SEVERITY_ASSIGNED, data)


EXFILTRATION = alert("PotentialDataExfiltration", "x1", category="security")


def test_something_worse_that_joins_while_a_run_is_at_work_is_assigned_and_looked_at() -> None:
    (incident,) = one(alert("SuspiciousAuthenticationPattern", "s1", category="security")).opened
    begin(incident, Severity.P1)
    assert one(EXFILTRATION).joined == (incident,)
    assert journal.read(incident).severity is Severity.P0
    assert [row[1:] for row in orders()[1:]] == [(Severity.P0.rank, "security", 2)]


def test_something_worse_that_joins_while_a_plan_waits_is_assigned_and_looked_at() -> None:
    (incident,) = one(alert("SuspiciousAuthenticationPattern", "s1", category="security")).opened
    begin(incident, Severity.P1)
    plan = plan_for(incident)
    journal.append(incident, FactKind.PLAN_PROPOSED, {"plan": plan.as_json(), "hash": plan.hash})
    finish_orders()
    one(alert("SuspiciousAuthenticationPattern", "s2", category="security"))
    assert len(orders()) == 1
    one(EXFILTRATION)
    assert journal.read(incident).severity is Severity.P0
    assert len(orders()) == 2


def test_the_worst_of_many_alerts_has_a_fact_of_its_own() -> None:
    many = [alert("NeverSeen", f"p{n}", category="privacy", severity="warning") for n in range(60)]
    worst = alert("NeverSeen", "worst", category="privacy", severity="critical")
    (incident,) = one(*many, worst).opened
    assert "worst" in {data["fingerprint"] for data in journal.read(incident).alerts}
    assert orders()[0][1] == Severity.P0.rank


def test_the_worst_of_the_batch_that_opens_an_incident_makes_its_order_urgent() -> None:
    less = alert("SuspiciousAuthenticationPattern", "s1", category="security")
    take([received(less), received(EXFILTRATION)])
    assert [row[1] for row in orders()] == [Severity.P0.rank]


def test_a_fact_of_a_kind_that_we_do_not_know_keeps_no_alert_out() -> None:
    (incident,) = one(alert("DatabaseDown", "d1")).opened
    journal.append(incident, FactKind.NOTE, {"text": "new"})
    with responder.connection() as connection:
        connection.execute(
            "UPDATE journal SET line = convert_to(replace(convert_from(line, 'UTF8'), '\"note\"',"
            " '\"of tomorrow\"'), 'UTF8') WHERE kind = 'note'"
        )
    finish_orders()
    taken = one(alert("DatabaseDown", "d2"))
    assert (taken.joined, taken.not_admitted) == ((incident,), False)
    assert FactKind.UNKNOWN in {fact.kind for fact in journal.read(incident).facts}


def test_whoever_joins_brings_its_stricter_terms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = POLICY.replace('group_by = ["shard"]\nwindow = "5m"\n', "").replace(
        'component = "unknown"',
        'component = "shard"\ncloses_on_resolve = false\napprovers = 2\nmax_responses = 3',
    )
    use_policy(tmp_path / "policy.toml", strict, monkeypatch)
    (incident,) = one(alert("ShardSlow", "a")).opened
    lax = journal.read(incident)
    one(alert("Other", "b"))
    now = journal.read(incident)
    assert (lax.approvers_needed, lax.closes_on_resolve) == (1, True)
    assert (now.approvers_needed, now.closes_on_resolve) == (2, False)


def test_labels_that_no_line_of_the_journal_could_hold_are_cut_and_the_alert_counts() -> None:
    wide = {f"label_{n}": "\U0001f525" * 1000 for n in range(100)}
    (incident,) = one(alert("DatabaseDown", "wide", **wide)).opened
    (kept,) = journal.read(incident).alerts
    assert 0 < len(kept["labels"]) < 100


def test_runs_of_an_incident_count_against_its_own_components_cap() -> None:
    (database,) = one(alert("DatabaseDown", "d1", category="infrastructure")).opened
    finish_orders()
    one(alert("ApplicationDown", "a1", category="operational"))
    incidents.enqueue(database, incidents.RESUME, "resume:1")
    incidents.enqueue(database, incidents.ESCALATION, "escalate:1")
    assert [row[2] for row in orders()] == ["database", "database", "database", ""]


MENDED = Outcome(Ending.RESTORED, "mended")


def test_a_run_does_not_close_over_an_alert_that_joined_while_it_worked() -> None:
    (incident,) = one(alert("DatabaseDown", "d1")).opened
    begin(incident)
    one(alert("DiskSpaceLow", "d2"))
    assert not ending.close(incident, MENDED)
    assert journal.read(incident).closed_at is None
    one(alert("DiskSpaceLow", "d2", "resolved"))
    assert ending.close(incident, MENDED)
    assert ending.close(incident, MENDED)
    assert journal.read(incident).outcome == "restored"


def test_alerts_that_the_run_knew_when_it_began_do_not_keep_it_open() -> None:
    (incident,) = one(alert("DatabaseDown", "d1"), alert("DiskSpaceLow", "d2")).opened
    begin(incident)
    assert ending.close(incident, MENDED)
    assert one(alert("DiskSpaceLow", "d3")).opened


def test_a_thousand_alerts_on_one_incident_do_not_slow_down_the_next() -> None:
    (incident,) = one(*(alert("DatabaseDown", f"{n:04}") for n in range(50))).opened
    begin(incident)
    finish_orders()
    began = datetime.now(UTC)
    for n in range(20):
        one(*(alert("DatabaseDown", f"{n:02}-{m:02}") for m in range(50)))
    assert datetime.now(UTC) - began < timedelta(seconds=10)


@pytest.mark.parametrize("seed", range(4))
def test_any_order_batching_and_repetition_have_the_same_effect(seed: int) -> None:
    """The law: each firing alert is in the one incident of its component, recorded once."""
    chance = random.Random(seed)
    names = ["DatabaseDown", "RedisDown", "LowAnnotationRate", "DataRetentionViolation"]
    sent: list[Received] = []
    for number in range(24):
        name = chance.choice(names)
        status = "resolved" if chance.random() < 0.3 else "firing"
        event = alert(name, f"{name}-{number % 9}", status)
        sent += [received(event, receiver=f"am-{copy}") for copy in range(chance.randint(1, 2))]
    chance.shuffle(sent)
    everything = sent + chance.sample(sent, 10)
    while everything:
        size = chance.randint(1, 7)
        take(everything[:size])
        del everything[:size]
    check_law(sent)


def check_law(sent: Sequence[Received]) -> None:
    firing = {
        (each.fingerprint, each.starts_at): each
        for one_sent in sent
        for each in one_sent.notification.alerts
        if each.status.value == "firing"
    }
    placed = {
        (fingerprint, starts_at.astimezone(UTC)): incident
        for fingerprint, starts_at, incident in rows(
            "SELECT fingerprint, starts_at, incident FROM alerts WHERE status = 'firing'"
        )
    }
    assert placed.keys() == firing.keys()
    for event, incident in placed.items():
        recorded = [
            data for data in journal.read(incident).alerts if data["fingerprint"] == event[0]
        ]
        assert sum(data["status"] == "firing" for data in recorded) == 1
    by_name = {firing[event].name: set() for event in placed}
    for event, incident in placed.items():
        by_name[firing[event].name].add(incident)
    assert all(len(found) == 1 for found in by_name.values())
    resolved = rows("SELECT fingerprint, starts_at, incident FROM alerts WHERE status = 'resolved'")
    for fingerprint, starts_at, incident in resolved:
        assert incident == placed.get((fingerprint, starts_at.astimezone(UTC)), "")


def test_away_database_is_transient_and_nothing_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBOOK_RESPONDER__DSN", "postgresql://127.0.0.1:9/x")
    settings.cache_clear()
    responder.close()
    with pytest.raises(Transient):
        one(alert("DatabaseDown", "d1"))


def test_a_batch_of_storm_size_is_taken_in_a_moment() -> None:
    names = ["DatabaseDown", "RedisDown", "LowAnnotationRate", "DataRetentionViolation"]
    batch = [received(alert(names[n % 4], f"{n:04}")) for n in range(256)]
    began = datetime.now(UTC)
    assert sum(each.new_alerts for each in take(batch)) == 256
    assert datetime.now(UTC) - began < timedelta(seconds=5)
    assert len(orders()) == 4


def test_the_dpos_hour_begins_when_the_alert_came_in_though_it_waited_on_our_disk() -> None:
    came_in = datetime.now(UTC) - timedelta(minutes=50)
    body = received(alert("PrivacyBudgetExceeded", "p1", category="privacy", severity="critical"))
    (taken,) = take([replace(body, received_at=came_in)])
    (incident,) = taken.opened
    clock = journal.read(incident).clocks["dpo"]
    assert datetime.fromisoformat(clock["due"]) == came_in + timedelta(hours=1)
    assert suspected_at(journal.read(incident)) == came_in
