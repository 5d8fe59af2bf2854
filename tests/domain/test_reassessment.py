"""A person's word on the severity stands until something is known that was not known then."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tasks.domain.facts import RUNBOOK, FactKind
from tasks.domain.reassessment import persons_word, worsened
from tasks.domain.severity import NOTHING_MORE, Assessment, Severity
from tests.builders import JournalBuilder

P0, P1, P2, P3 = Severity
OLD = {"severity": "P0", "rule": "class.p0.compliance-failure", "reason": "an old alert"}
OLD_SAYS = Assessment(P0, OLD["rule"], OLD["reason"])
CORRUPTION = Assessment(P0, "class.p0.data-corruption", "proven: 5 records altered")
SLOW = Assessment(P1, "class.p1.api-errors", "users are affected: ['api'] failed")


def opened() -> JournalBuilder:
    return JournalBuilder().add(0, FactKind.OPENED, {"title": "t"})


def alert(story: JournalBuilder, status: str = "firing", **says: str) -> JournalBuilder:
    return story.add(1, FactKind.ALERT_RECEIVED, {"status": status, "labels": {}, **says})


def graded(story: JournalBuilder, severity: Severity, by: str = "anna") -> JournalBuilder:
    data = {"severity": severity.value, "rule": "person", "reason": "only a test tenant"}
    return story.add(2, FactKind.SEVERITY_ASSIGNED, data, actor=by)


def test_without_a_persons_word_the_worst_counts_and_nothing_lowers() -> None:
    state = alert(opened(), **OLD).incident_state()
    assert persons_word(state) is None
    assert worsened(state, [None, SLOW, OLD_SAYS]) == OLD_SAYS
    assert worsened(state, [None]) == NOTHING_MORE
    stands = graded(opened(), P1, by=RUNBOOK).incident_state()
    assert worsened(stands, [SLOW]) is None
    assert worsened(stands, [CORRUPTION]) == CORRUPTION


def test_the_same_alerts_looked_at_again_do_not_overrule_a_person() -> None:
    state = graded(alert(opened(), **OLD), P3).incident_state()
    assert state.severity is P3
    assert worsened(state, [OLD_SAYS, NOTHING_MORE]) is None


def test_the_same_finding_made_again_does_not_overrule_a_person() -> None:
    story = opened()
    data = {"severity": "P0", "rule": CORRUPTION.rule, "reason": CORRUPTION.reason}
    story.add(1, FactKind.SEVERITY_ASSIGNED, data)
    state = graded(story, P2).incident_state()
    assert worsened(state, [CORRUPTION]) is None
    more = Assessment(P0, CORRUPTION.rule, "proven: 6 records altered")
    assert worsened(state, [more]) == more


def test_an_alert_that_fires_afterwards_does_even_when_it_says_what_an_older_one_said() -> None:
    story = graded(alert(opened(), **OLD), P3)
    assert worsened(alert(story, **OLD).incident_state(), [OLD_SAYS]) == OLD_SAYS


def test_an_alert_that_resolves_afterwards_is_no_bad_news() -> None:
    story = alert(graded(alert(opened(), **OLD), P3), status="resolved", **OLD)
    assert worsened(story.incident_state(), [OLD_SAYS]) is None


def test_an_old_alert_does_not_hide_a_lesser_finding_that_is_new() -> None:
    state = graded(alert(opened(), **OLD), P3).incident_state()
    assert worsened(state, [OLD_SAYS, SLOW]) == SLOW


def test_something_new_that_is_not_worse_leaves_a_persons_word() -> None:
    state = graded(opened(), P0).incident_state()
    assert worsened(state, [SLOW]) is None
    assert worsened(alert(graded(opened(), P1), **OLD).incident_state(), []) == OLD_SAYS


@pytest.mark.parametrize("data", [{"severity": "P9"}, {"severity": 0}, {}])
def test_an_odd_assignment_is_nothing_that_a_person_could_know(data: dict[str, object]) -> None:
    story = opened().add(1, FactKind.SEVERITY_ASSIGNED, data)
    state = graded(story, P3).incident_state()
    assert worsened(state, [CORRUPTION]) == CORRUPTION


_FOUND = some.sampled_from([CORRUPTION, SLOW, OLD_SAYS, Assessment(P2, "r", "a part failed")])


@given(
    looks=some.lists(some.lists(_FOUND, max_size=3), max_size=4), word=some.sampled_from(Severity)
)
def test_what_was_assessed_before_a_person_spoke_never_changes_their_word(
    looks: list[list[Assessment]], word: Severity
) -> None:
    """Whatever runs assessed before, every one of them again, in any order, changes nothing."""
    story = opened()
    for look in looks:
        found = worsened(story.incident_state(), look)
        if found is not None:
            data = {"severity": found.severity.value, "rule": found.rule, "reason": found.reason}
            story.add(1, FactKind.SEVERITY_ASSIGNED, data)
    graded(story, word)
    before = [
        Assessment(Severity(fact.data["severity"]), fact.data["rule"], fact.data["reason"])
        for fact in story.facts
        if fact.kind is FactKind.SEVERITY_ASSIGNED and fact.actor == RUNBOOK
    ]
    assert worsened(story.incident_state(), before) is None
    assert story.incident_state().severity is word
