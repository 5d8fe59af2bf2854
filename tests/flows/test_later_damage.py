"""Damage that is found after the first was sealed: held anew, and sealed as it is then."""

import pytest

from deployments.lab.patient import DATABASE
from tasks.domain.facts import FactKind
from tasks.domain.incident import Stage
from tasks.work import journal
from tests.flows.responding import Responding

pytestmark = [pytest.mark.flows, pytest.mark.slow]

_MORE = "UPDATE audit_records SET record = 'later' WHERE seq = %s"


def test_later_damage_is_held_and_sealed_before_another_plan_and_once(
    responding: Responding,
) -> None:
    hurt = responding.damage()
    name = responding.alert()
    responding.decide(name, responding.plan(name), "deny")
    responding.until_note(name, "denied")
    responding.until_idle(name)
    with responding.lab.patient.connect(DATABASE) as connection:
        connection.execute(_MORE, (min({*range(20)} - {*hurt.modified, *hurt.deleted}),))

    by_shell = responding.flow(f"flows.integrity:verify_integrity({name!r})")
    assert by_shell.returncode == 0, by_shell.stderr
    for _ in range(2):  # the second run finds what the first one did
        responding.run_again(name)
        diagnosed = responding.facts(name, FactKind.DIAGNOSED)
        assert [fact.data["altered"] for fact in diagnosed] == [
            diagnosed[0].data["altered"],
            diagnosed[0].data["altered"] + 1,
        ]
        held = responding.facts(name, FactKind.HOLD_SET)
        evidence = responding.facts(name, FactKind.EVIDENCE_SEALED)
        sealed = [fact for fact in evidence if "bag" not in fact.data]
        bags = [fact for fact in evidence if "bag" in fact.data]
        assert [fact.data["hold"] for fact in bags] == [fact.seq for fact in held]
        assert [fact.data["hold"] for fact in sealed] == [fact.seq for fact in held]
        assert held[0].seq < sealed[0].seq < diagnosed[1].seq < held[1].seq < sealed[1].seq
        keys = [{item["key"] for item in fact.data["items"]} for fact in sealed]
        assert not keys[0] & keys[1]
        state = journal.read(name)
        assert state.stage is Stage.AWAITING_APPROVAL
        assert [hold.sealed for hold in state.held()] == [True]
