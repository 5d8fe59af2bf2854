"""Replay: which incidents recorded alerts would have started, by the policy alone."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.alert import Alert, AlertStatus
from tasks.domain.policy import DEFAULT, RoutingPolicy
from tasks.domain.policy_differences import differences, only_in
from tasks.domain.replay import Replay, expected_incidents

START = datetime(2026, 3, 14, 3, tzinfo=UTC)
POLICY = """
[[routes]]
name = "beat"
matchers = ['alertname="Watchdog"']
component = "alerting"
procedure = "triage"
title = "Alerting"
remedy = "manual"
heartbeat = true

[[routes]]
name = "database"
matchers = ['team="database"']
component = "database"
procedure = "database"
title = "Database"
window = "10m"

[[routes]]
name = "api"
matchers = ['team="api"']
component = "api"
procedure = "api_service"
title = "API"
caused_by = ["database"]
severity = "P1"

[[routes]]
name = "audit"
matchers = ['team="audit"']
component = "audit-trail"
procedure = "audit_trail"
title = "Audit trail"
closes_on_resolve = false

[[routes]]
name = "rest"
matchers = []
component = "rest"
procedure = "triage"
title = "Alert"
remedy = "manual"
group_by = ["zone"]
"""


def alert(
    team: str, name: str = "X", minutes: float = 0, *, status: str = "firing", **labels: str
) -> Alert:
    return Alert(
        fingerprint=f"{team}-{name}-{labels.get('zone', '')}",
        status=AlertStatus(status),
        starts_at=START + timedelta(minutes=minutes),
        labels={"alertname": name, "team": team} | labels,
        annotations={},
    )


def replayed(*notifications: Sequence[Alert], policy: str = POLICY) -> Replay:
    replay = Replay(RoutingPolicy.parse(policy))
    for alerts in notifications:
        replay.take(alerts)
    return replay


def groups(replay: Replay) -> list[tuple[str, int]]:
    return [(one.route.group_key, len(one.alerts)) for one in replay.incidents]


def test_alerts_of_a_group_join_one_incident_and_are_counted_once() -> None:
    one = alert("database")
    replay = replayed([one, alert("database", "Y", 1)], [one], [one, alert("audit")])
    assert groups(replay) == [("database", 2), ("audit-trail", 1)]
    assert replay.duplicates == 2
    assert replay.incidents[0].names == ["X", "Y"]


def test_the_same_alert_that_fires_anew_is_another_one() -> None:
    replay = replayed([alert("audit")], [alert("audit", minutes=60)])
    assert groups(replay) == [("audit-trail", 2)]


def test_labels_of_the_policy_divide_a_component() -> None:
    replay = replayed([alert("x", zone="a"), alert("x", zone="b"), alert("y", zone="a")])
    assert groups(replay) == [("rest/a", 2), ("rest/b", 1)]


def test_an_alert_joins_while_the_newest_is_within_the_window() -> None:
    replay = replayed(*([alert("database", "X", minutes)] for minutes in (0, 9, 18, 29)))
    assert groups(replay) == [("database", 3), ("database", 1)]


def test_an_open_cause_takes_the_alerts_that_it_explains() -> None:
    replay = replayed([alert("database")], [alert("api", minutes=1)])
    assert groups(replay) == [("database", 2)]
    assert replay.incidents[0].severity == "P1", "the worst of its alerts"


def test_a_cause_explains_only_within_an_hour_of_its_newest_alert() -> None:
    assert groups(replayed([alert("database")], [alert("api", minutes=60)])) == [("database", 2)]
    late = replayed([alert("database")], [alert("api", minutes=60.1)])
    assert groups(late) == [("database", 1), ("api", 1)]
    prolonged = [alert("database")], [alert("database", "Y", 9)], [alert("api", minutes=69)]
    assert groups(replayed(*prolonged)) == [("database", 3)]


def test_of_one_notification_the_cause_comes_before_what_it_explains() -> None:
    assert groups(replayed([alert("api"), alert("database")])) == [("database", 2)]


def test_of_one_notification_the_most_urgent_alert_opens_the_incident() -> None:
    route = '[[routes]]\nname = "{}"\nmatchers = [\'alertname="{}"\']\ncomponent = "part"\n'
    route += 'procedure = "triage"\nremedy = "manual"\ntitle = "{}"\nseverity = "{}"\n'
    policy = route.format("lax", "Lax", "Lax", "P2") + route.format("strict", "S", "Strict", "P0")
    both = alert("x", "Lax"), alert("x", "S")
    for order in (both, both[::-1]):
        (incident,) = replayed(order, policy=policy + POLICY).incidents
        assert (incident.route.name, incident.severity) == ("strict", "P0")


def test_an_incident_that_was_there_before_its_cause_keeps_its_alerts() -> None:
    replay = replayed([alert("api")], [alert("database")], [alert("api", "Y", 1)])
    assert groups(replay) == [("api", 2), ("database", 1)]


def test_an_incident_ends_when_all_its_alerts_have_resolved_and_the_next_opens_another() -> None:
    replay = replayed(
        [alert("database"), alert("database", "Y")],
        [alert("database", status="resolved")],
        [alert("database", "Z", 1)],
        [alert("database", "Y", status="resolved"), alert("database", "Z", 1, status="resolved")],
        [alert("database", "X", 2)],
    )
    assert groups(replay) == [("database", 3), ("database", 1)]
    assert [one.is_open for one in replay.incidents] == [False, True]


def test_what_a_person_must_close_stays_open() -> None:
    replay = replayed(
        [alert("audit")], [alert("audit", status="resolved")], [alert("audit", "Y", 9000)]
    )
    assert groups(replay) == [("audit-trail", 2)]


def test_an_ended_cause_explains_nothing() -> None:
    replay = replayed(
        [alert("database")], [alert("database", status="resolved")], [alert("api", minutes=1)]
    )
    assert groups(replay) == [("database", 1), ("api", 1)]


def test_a_resolved_alert_opens_nothing_and_one_that_overtakes_its_firing_ends_it() -> None:
    resolved = alert("database", status="resolved")
    replay = replayed([resolved], [resolved])
    assert (groups(replay), replay.astray, replay.duplicates) == ([], 1, 1)
    replay.take([alert("database")])
    assert (groups(replay), replay.astray) == ([("database", 1)], 0)
    assert not replay.incidents[0].is_open


def test_of_one_notification_the_firing_ones_count_first() -> None:
    replay = replayed([alert("database", status="resolved"), alert("database")])
    assert (groups(replay), replay.astray) == ([("database", 1)], 0)
    assert not replay.incidents[0].is_open


def test_a_heartbeat_opens_nothing() -> None:
    beat = alert("api", "Watchdog")
    replay = replayed([beat], [beat])
    assert (groups(replay), replay.heartbeats, replay.duplicates) == ([], 2, 0)


def test_alerts_that_belong_together_are_told_by_their_group() -> None:
    policy = RoutingPolicy.parse(POLICY)
    alerts = [alert("database"), alert("api"), alert("x", zone="a"), alert("api", "Watchdog")]
    assert expected_incidents(policy, alerts) == {
        "database": {("database-X-", START), ("api-X-", START)},
        "rest/a": {("x-X-a", START)},
    }


alerts_of_all_kinds = st.lists(
    st.builds(
        alert,
        st.sampled_from(["database", "api", "audit", "other"]),
        st.sampled_from(["X", "Y", "Watchdog"]),
        st.integers(0, 40),
        status=st.sampled_from(["firing", "resolved"]),
        zone=st.sampled_from(["", "a", "b"]),
    ),
    max_size=25,
)


@given(alerts_of_all_kinds)
def test_every_alert_that_fired_is_in_exactly_one_incident(alerts: list[Alert]) -> None:
    replay = replayed(*([one] for one in alerts))
    placed = [event for incident in replay.incidents for event in incident.alerts]
    fired = {
        (one.fingerprint, one.starts_at)
        for one in alerts
        if one.status is AlertStatus.FIRING and one.name != "Watchdog"
    }
    assert sorted(placed) == sorted(fired)
    assert all(replay.incident_of(event) is not None for event in fired)


@given(alerts_of_all_kinds, st.randoms())
def test_without_causes_and_windows_the_order_of_a_storm_decides_nothing(
    alerts: list[Alert], random: object
) -> None:
    policy = RoutingPolicy.parse(
        POLICY.replace('caused_by = ["database"]', "").replace('window = "10m"', "")
    )
    firing = [one for one in alerts if one.status is AlertStatus.FIRING]
    shuffled = list(firing)
    random.shuffle(shuffled)
    assert expected_incidents(policy, firing) == expected_incidents(policy, shuffled)


@given(alerts_of_all_kinds)
def test_a_policy_differs_from_itself_in_nothing(alerts: list[Alert]) -> None:
    policy = RoutingPolicy.parse(POLICY)
    one, other = Replay(policy), Replay(policy)
    one.take(alerts)
    other.take(alerts)
    assert differences(one, other, (policy, policy), alerts) == []
    assert only_in(one, other) == only_in(other, one) == []


def test_differences_are_gathered_by_alert_and_name_what_is_otherwise() -> None:
    changed = POLICY.replace('severity = "P1"', 'severity = "P0"').replace(
        'caused_by = ["database"]', ""
    )
    policies = (RoutingPolicy.parse(POLICY), RoutingPolicy.parse(changed))
    alerts = [alert("database"), alert("api"), alert("api", "X", 1), alert("audit")]
    one, other = Replay(policies[0]), Replay(policies[1])
    one.take(alerts)
    other.take(alerts)
    (found,) = differences(one, other, policies, [*alerts, *alerts])
    assert (found.name, found.alerts) == ("X", 2)
    assert found.fields == {
        "severity": ("P1", "P0"),
        "caused_by": (["database"], []),
        "incident": ("database", "api"),
    }
    assert [incident.route.group_key for incident in only_in(one, other)] == ["database"]
    assert [incident.route.group_key for incident in only_in(other, one)] == ["api", "database"]


def test_a_route_that_was_only_renamed_makes_no_difference() -> None:
    policy = RoutingPolicy.parse(POLICY)
    renamed = RoutingPolicy.parse(POLICY.replace('name = "rest"', 'name = "others"'))
    alerts = [alert("x")]
    one, other = Replay(policy), Replay(renamed)
    one.take(alerts)
    other.take(alerts)
    assert differences(one, other, (policy, renamed), alerts) == []


def test_the_shipped_policy_joins_the_apis_errors_to_a_database_that_is_down() -> None:
    alerts = [
        Alert(name, AlertStatus.FIRING, START, {"alertname": name, "category": category}, {})
        for name, category in (
            ("DatabaseDown", "infrastructure"),
            ("HighErrorRate", "operational"),
            ("ApplicationDown", "operational"),
            ("AuditLogStorageIssue", "audit"),
            ("Watchdog", ""),
        )
    ]
    assert {key: len(found) for key, found in expected_incidents(DEFAULT, alerts).items()} == {
        "database": 3,
        "audit-trail": 1,
    }
