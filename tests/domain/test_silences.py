"""What Alertmanager says that it hides."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.errors import BadInput
from tasks.domain.silences import read_hidden

SILENCE = {
    "id": "8d1f",
    "status": {"state": "active"},
    "createdBy": "anna",
    "comment": "move of the data centre",
    "endsAt": "2026-03-14T06:00:00.000Z",
    "matchers": [{"name": "alertname", "value": ".*", "isRegex": True}],
}


def alert(name: str = "AuditTrailIntegrityFailure", **status: Any) -> dict[str, Any]:
    return {
        "labels": {"alertname": name, "severity": "critical"},
        "status": {"state": "suppressed", "silencedBy": [], "inhibitedBy": [], **status},
    }


def test_a_silenced_alert_is_named_with_who_silenced_it_until_when_and_why() -> None:
    (found,) = read_hidden([alert(silencedBy=["8d1f"])], [SILENCE])
    assert str(found) == (
        "AuditTrailIntegrityFailure is silenced by anna until 2026-03-14 06:00 UTC: "
        "move of the data centre"
    )
    assert found.silences[0].ends_at == datetime(2026, 3, 14, 6, 0, tzinfo=UTC)
    assert found.as_json()["silences"][0]["by"] == "anna"


def test_silenced_ones_come_before_inhibited_ones_and_others_are_left_out() -> None:
    found = read_hidden(
        [alert("A", inhibitedBy=["f"]), alert("Z", silencedBy=["8d1f"]), alert("B")], [SILENCE]
    )
    assert [each.name for each in found] == ["Z", "A"]
    assert "inhibited by another alert" in str(found[1])


def test_a_silence_that_ended_between_the_two_questions_still_hides_its_alert() -> None:
    (found,) = read_hidden([alert(silencedBy=["gone", "8d1f"])], [])
    assert [each.id for each in found.silences] == ["gone", "8d1f"]
    assert "nobody named and 1 more" in str(found)


def test_texts_of_strangers_are_printable_and_bounded() -> None:
    rude = SILENCE | {"createdBy": "\x1b[31mroot\u202e", "comment": "a\n\0" * 5000}
    (found,) = read_hidden([alert("x" * 9000, silencedBy=["8d1f"])], [rude])
    assert str(found).isprintable()
    assert len(str(found)) < 500


@pytest.mark.parametrize(
    ("alerts", "silences"),
    [
        ({}, []),
        ([7], []),
        ([{"status": []}], []),
        ([alert(silencedBy="8d1f")], [SILENCE]),
        ([alert(silencedBy=["x"])], {"message": "no"}),
        ([alert(silencedBy=["x"])], [SILENCE | {"endsAt": "soon"}]),
    ],
    ids=str,
)
def test_what_is_not_documented_is_refused(alerts: Any, silences: Any) -> None:
    with pytest.raises(BadInput):
        read_hidden(alerts, silences)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=12,
)


@given(json_values, json_values)
def test_any_json_is_read_or_refused(alerts: Any, silences: Any) -> None:
    try:
        found = read_hidden(alerts, silences)
    except BadInput:
        return
    assert all(str(each).isprintable() for each in found)
