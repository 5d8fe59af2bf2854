"""An isolation on its incident's page: who sees what, and whose word keeps it or takes it back."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tasks.domain.facts import FactKind
from tasks.domain.isolation import NETWORK, RETURN
from tasks.domain.isolation_plan import NETWORK_TARGET, CutOff, Isolating, plan_isolation
from tasks.domain.isolation_state import Word, isolation_of
from tasks.domain.preserved import Preserved
from tasks.work import incidents, journal
from tests.gateway.browsers import Browser

pytestmark = pytest.mark.components

LogIn = Callable[[str, str], Browser]

_APP = {"app": "rlhf-audit-trail"}


def isolated() -> str:
    """An incident whose pods are cut off under an approved plan."""
    incident = incidents.declare("Security: x", "security", "breach", by="runbook")
    cut = CutOff("rlhf-audit-trail", _APP, {"role": "forensics"})
    evidence = Preserved(incident, "*", 3, f"evidence/{incident}/3", 7)
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    plan = plan_isolation(evidence, Isolating(240, 3, cut), "rlhf_audit", "seen", expires_at)
    journal.append(
        incident,
        FactKind.PLAN_PROPOSED,
        {"plan": plan.as_json(), "hash": plan.hash, "expires_at": expires_at.isoformat()},
    )
    step = {"step": NETWORK, "target": NETWORK_TARGET, "plan": plan.hash}
    journal.append(incident, FactKind.STEP_STARTED, step)
    done = step | {"summary": "stands", "result": {}}
    journal.append(incident, FactKind.STEP_DONE, done)
    return incident


def test_the_page_says_until_when_it_stands_and_only_those_who_may_see_a_form(
    log_in: LogIn,
) -> None:
    page = f"/i/{isolated()}"
    for name, role, may in (("vera", "viewer", False), ("sam", "security", True)):
        shown = log_in(name, role).get(page).text
        assert "the pods are cut off" in shown
        assert "unless a person confirms it" in shown
        assert (f'action="{page}/isolation"' in shown) is may


def test_a_confirmed_isolation_stays_and_one_that_is_taken_back_is_ordered_at_once(
    log_in: LogIn,
) -> None:
    incident = isolated()
    page, sam = f"/i/{incident}", log_in("sam", "security")
    kept = sam.send(page, f"{page}/isolation", word="confirm", reason="it was real")
    assert kept.status_code == 303
    shown = sam.get(page).text
    assert "has confirmed it" in shown
    assert 'value="confirm"' not in shown
    back = sam.send(page, f"{page}/isolation", word="return", reason="it is over")
    assert back.status_code == 303
    found = isolation_of(journal.read(incident))
    assert found is not None
    assert (found.word, found.by, found.returned) == (Word.RETURN, "sam", False)
    step = {"step": RETURN, "target": NETWORK_TARGET, "plan": found.plan_hash}
    journal.append(incident, FactKind.STEP_STARTED, step)
    journal.append(incident, FactKind.STEP_DONE, step | {"summary": "back", "result": {}})
    assert "taken back" in sam.get(page).text


@pytest.mark.parametrize("wrong", [{"word": "forget"}, {"reason": ""}])
def test_what_means_nothing_is_refused_and_nothing_is_recorded(
    log_in: LogIn, wrong: dict[str, str]
) -> None:
    incident = isolated()
    page = f"/i/{incident}"
    answer = log_in("sam", "security").send(
        page, f"{page}/isolation", **{"word": "confirm", "reason": "seen", **wrong}
    )
    assert answer.status_code >= 400
    facts = journal.read(incident).facts
    assert [fact for fact in facts if fact.kind is FactKind.ISOLATION_JUDGED] == []
