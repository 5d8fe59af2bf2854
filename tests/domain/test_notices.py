"""Drafts of notices: no field is silently empty, none is sent, lateness is said."""

from datetime import UTC, datetime, timedelta

import pytest

from tasks.domain.errors import BadInput
from tasks.domain.notices import Draft, Filled, draft
from tasks.domain.regimes import shipped, started

SUSPECTED = datetime(2026, 11, 22, 3, 12, tzinfo=UTC)


def notice(
    name: str,
    known: dict[str, str] | None = None,
    not_applicable: dict[str, str] | None = None,
    *,
    hours: float = 1,
) -> Draft:
    clock = next(each for each in shipped().clocks if each.id == name)
    state = started(clock, {"suspected": SUSPECTED}, {})
    return draft(state, known or {}, not_applicable or {}, SUSPECTED + timedelta(hours=hours))


def test_every_mandatory_field_of_every_notice_stands_in_its_draft() -> None:
    for clock in shipped().clocks:
        assert [each.field for each in notice(clock.id, hours=0).entries] == list(clock.fields)


def test_what_nobody_knows_says_unknown_and_a_blank_is_no_value() -> None:
    found = notice("gdpr-33", {"nature of the breach": "  ", "number of people concerned": "41"})
    said = {each.field: str(each) for each in found.entries}
    assert said["nature of the breach"] == "UNKNOWN"
    assert said["number of people concerned"] == "41"
    assert len(found.unknown) == len(found.entries) - 1


def test_what_does_not_apply_says_why() -> None:
    found = notice("gdpr-33", not_applicable={"number of records concerned": "no record was read"})
    entry = next(each for each in found.entries if each.field == "number of records concerned")
    assert (entry.filled, str(entry)) == (Filled.NOT_APPLICABLE, "N/A: no record was read")


def test_not_applicable_without_a_reason_is_refused() -> None:
    with pytest.raises(BadInput, match="a reason why likely consequences does not apply"):
        notice("gdpr-33", not_applicable={"likely consequences": " "})


def test_a_field_that_is_known_and_not_applicable_is_refused() -> None:
    field = "likely consequences"
    with pytest.raises(BadInput, match="found both"):
        notice("gdpr-33", {field: "none"}, {field: "none"})


def test_a_late_notice_must_give_the_reasons_of_the_delay() -> None:
    on_time, late = notice("gdpr-33", hours=72), notice("gdpr-33", hours=72.1)
    assert (on_time.late, late.late) == (False, True)
    assert "the reasons of the delay" in late.unknown
    assert "the reasons of the delay" not in on_time.unknown
    assert "The deadline has passed." in late.lines()


def test_a_draft_says_that_it_is_one_to_whom_it_goes_and_until_when() -> None:
    lines = notice("gdpr-33").lines()
    assert lines[0].startswith("DRAFT, not sent: ")
    assert "To: supervisory authority" in lines[1]
    assert "due 2026-11-25 03:12 UTC" in lines[1]
    assert "its clock does not run yet" in notice("sec-8k").lines()[1]
