"""Alertmanager's webhook: recorded bodies are understood, everything else is complained about."""

import contextlib
import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.alert import AlertStatus
from tasks.domain.alertmanager import ALERTS_LIMIT, CUT_MARK, TEXT_LIMIT, Notification, clean, parse
from tasks.domain.errors import BadInput

VECTORS = Path(__file__).parents[1] / "vectors" / "alertmanager"

# As Alertmanager 0.25 sent it (max_alerts 2), with the addresses shortened.
RECORDED: dict[str, Any] = {
    "receiver": "max2",
    "status": "resolved",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "AuditChainBroken", "severity": "critical", "shard": "s0"},
            "annotations": {"summary": "hash chain broken on s0"},
            "startsAt": "2026-11-23T12:05:46.114Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://vm:35011/graph?g0.expr=x",
            "fingerprint": "c57877249ee74c33",
        },
    ],
    "groupLabels": {"alertname": "AuditChainBroken"},
    "commonLabels": {"alertname": "AuditChainBroken"},
    "commonAnnotations": {},
    "externalURL": "http://vm:50637",
    "version": "4",
    "groupKey": '{}/{mode="max2"}:{alertname="AuditChainBroken"}',
    "truncatedAlerts": 3,
}


def changed(**fields: Any) -> bytes:
    return json.dumps(RECORDED | fields).encode()


def with_alert(**fields: Any) -> bytes:
    body = copy.deepcopy(RECORDED)
    body["alerts"][0] |= fields
    return json.dumps(body).encode()


def test_recorded_notification_is_read_with_each_alerts_own_status() -> None:
    found = parse(changed())
    assert found.truncated == 3
    assert found.receiver == "max2"
    (alert,) = found.alerts
    assert alert.status is AlertStatus.FIRING
    assert alert.fingerprint == "c57877249ee74c33"
    assert alert.name == "AuditChainBroken"
    assert alert.starts_at == datetime(2026, 11, 23, 12, 5, 46, 114000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "statuses", "truncated"),
    [
        ("firing_single", ["firing"], 0),
        ("resolved_single", ["resolved"], 0),
        ("firing_partially_resolved_truncated", ["resolved", "resolved"], 3),
    ],
)
def test_recorded_bodies_of_alertmanager_0_25_are_understood(
    name: str, statuses: list[str], truncated: int
) -> None:
    found = parse((VECTORS / f"{name}.json").read_bytes())
    assert [alert.status for alert in found.alerts] == statuses
    assert found.truncated == truncated
    assert all(alert.name and alert.fingerprint for alert in found.alerts)


def test_unknown_fields_of_newer_versions_are_accepted() -> None:
    body = json.loads(with_alert(newer={"a": [1]}))
    body |= {"notification_reason": "firing", "routeLabels": {"a": "b"}}
    assert len(parse(json.dumps(body).encode()).alerts) == 1


def test_nanoseconds_and_offsets_are_read_as_utc_milliseconds_as_the_api_says_them() -> None:
    (alert,) = parse(with_alert(startsAt="2026-11-23T14:05:46.114923456+02:00")).alerts
    assert alert.starts_at == datetime(2026, 11, 23, 12, 5, 46, 114000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"\xff\xfe", "body"),
        (b"not json", "body"),
        (b"[]", "body"),
        (b"[" * 100_000, "body"),
        (b'{"version": NaN}', "body"),
        (b"1" * 5000, "body"),
        (changed(version="3"), "version"),
        (changed(version=4), "version"),
        (changed(alerts={}), "alerts"),
        (changed(alerts=None), "alerts"),
        (changed(alerts=["x"]), "alerts[0]"),
        (changed(alerts=[RECORDED["alerts"][0]] * (ALERTS_LIMIT + 1)), "alerts"),
        (changed(truncatedAlerts=-1), "truncatedAlerts"),
        (changed(truncatedAlerts=True), "truncatedAlerts"),
        (changed(groupKey=7), "groupKey"),
        (with_alert(status="pending"), "alerts[0].status"),
        (with_alert(status=[]), "alerts[0].status"),
        (with_alert(fingerprint=""), "alerts[0].fingerprint"),
        (with_alert(fingerprint="a b"), "alerts[0].fingerprint"),
        (with_alert(fingerprint="a\n"), "alerts[0].fingerprint"),
        (with_alert(fingerprint=None), "alerts[0].fingerprint"),
        (with_alert(labels=None), "alerts[0].labels"),
        (with_alert(labels={"severity": 1}), "alerts[0].labels.severity"),
        (with_alert(labels={"": "x"}), "alerts[0].labels"),
        (with_alert(labels={f"l{n}": "" for n in range(200)}), "alerts[0].labels"),
        (with_alert(annotations=[]), "alerts[0].annotations"),
        (with_alert(startsAt="yesterday"), "alerts[0].startsAt"),
        (with_alert(startsAt="2026-11-23T12:05:46"), "alerts[0].startsAt"),
        (with_alert(startsAt="0001-01-01T00:00:00+14:00"), "alerts[0].startsAt"),
        (with_alert(startsAt="0001-01-01T00:00:00Z"), "alerts[0].startsAt"),
        (with_alert(startsAt="9999-12-31T23:59:59-14:00"), "alerts[0].startsAt"),
        (with_alert(startsAt=5), "alerts[0].startsAt"),
    ],
)
def test_wrong_notification_is_refused_with_the_field_named(body: bytes, field: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse(body)
    assert str(refused.value).partition(": ")[0] == field
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(("depth", "understood"), [(16, True), (17, False), (3000, False)])
@pytest.mark.parametrize("shape", ['{"a": %s}', "[%s]", '["x", 1, %s]'])
def test_sixteen_levels_are_understood_and_no_more(
    depth: int, understood: bool, shape: str
) -> None:
    inner = "1"
    for _ in range(depth - 1):  # the body itself is one level
        inner = shape.replace("%s", inner) if depth < 100 else f"[{inner}]"
    body = f'{{"version": "4", "alerts": [], "more": {inner}}}'.encode()
    if understood:
        assert parse(body).alerts == ()
    else:
        with pytest.raises(BadInput, match="nested"):
            parse(body)


def test_nesting_is_bounded_but_brackets_in_text_do_not_count() -> None:
    deep: Any = "x"
    for _ in range(20):
        deep = [deep]
    with pytest.raises(BadInput, match="nested"):
        parse(changed(extra=deep))
    assert parse(changed(groupKey='{"[' * 50)).group_key.startswith('{"[')


def test_long_label_values_are_cut_with_a_marker() -> None:
    (alert,) = parse(with_alert(labels={"alertname": "x" * 5000})).alerts
    assert len(alert.name) == TEXT_LIMIT
    assert alert.name.endswith(CUT_MARK)


def test_controls_bidi_marks_and_lone_surrogates_never_get_through() -> None:
    hostile = "a\x00b\x1b[31mc\u202ed\ud800e\r\nf"
    (alert,) = parse(with_alert(labels={"alertname": hostile})).alerts
    assert alert.name == "a\ufffdb\ufffd[31mc\ufffdd\ufffde\ufffd\nf"


@given(st.text())
def test_cleaned_text_can_always_be_stored(text: str) -> None:
    kept = clean(text)
    assert len(kept) <= TEXT_LIMIT
    assert b"\x00" not in kept.encode()


@given(st.text(st.characters(codec="ascii"), max_size=12), st.integers(8, 12))
def test_cleaned_text_is_the_same_whether_it_is_printable_or_not(text: str, limit: int) -> None:
    """What needs no cleaning goes a shorter way, to the same end."""
    shorter, longer = clean(text, limit), clean(f"{text}\u2028", limit + 1)
    if len(text) <= limit:
        assert f"{shorter}\ufffd" == longer


@given(st.binary(max_size=200))
def test_any_bytes_are_either_understood_or_refused(body: bytes) -> None:
    with contextlib.suppress(BadInput):
        assert isinstance(parse(body), Notification)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.sampled_from(sorted(RECORDED["alerts"][0])), _JSON)
def test_any_value_in_any_field_of_an_alert_is_understood_or_refused(
    field: str, value: Any
) -> None:
    with contextlib.suppress(BadInput):
        assert len(parse(with_alert(**{field: value})).alerts) == 1
