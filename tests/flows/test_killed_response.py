"""The process that responds is killed in the middle of a change; another one goes on."""

from collections.abc import Iterator

import pytest

from deployments.lab.judging import account_for
from deployments.lab.patient import DATABASE
from deployments.lab.prefect_server import start_gateway
from deployments.lab.stack import Lab
from tasks.domain.facts import FactKind
from tasks.domain.recovery_plan import CARRY_OVER, RECONCILE, RESTORE, SWAP
from tasks.work import journal, responder
from tests.flows.responding import Responding

pytestmark = pytest.mark.flows


@pytest.fixture
def mortal(responding: Responding) -> Iterator[Responding]:
    """A stack whose gateway may be killed: the tests after this one have one again."""
    yield responding
    assert responding.lab.gateway is not None
    if not responding.lab.gateway.alive:
        _start_gateway(responding.lab)


@pytest.mark.slow
def test_a_plain_process_goes_on_where_the_killed_gateway_left_off(mortal: Responding) -> None:
    responding, lab = mortal, mortal.lab
    responding.damage()
    name = responding.alert()
    responding.decide(name, responding.plan(name), "approve")
    responding.until_fact(name, FactKind.STEP_STARTED)
    assert lab.gateway is not None
    lab.gateway.kill()  # its children die with it
    assert journal.read(name).done(RESTORE) is None, "too late: the step was done already"

    by_shell = responding.flow(f"flows.incident:incident({name!r})")
    assert by_shell.returncode == 0, by_shell.stderr
    assert "returned restored" in by_shell.stdout
    closed = journal.read(name)
    facts = responding.facts(name, FactKind.STEP_DONE)
    assert [fact.data["step"] for fact in facts] == [RESTORE, CARRY_OVER, RECONCILE, SWAP]
    tokens = [fact.data["fencing_token"] for fact in responding.facts(name, FactKind.STEP_STARTED)]
    assert tokens == sorted(tokens)
    assert tokens[0] < tokens[-1]
    quarantine = closed.steps[SWAP]["result"]["quarantine"]
    assert set(responding.production().databases) == {DATABASE, quarantine}

    # The gateway finds its dead child's order, looks at the journal, and does nothing twice.
    _start_gateway(lab)
    responding.until_idle(name)
    states = {run["state"]["type"] for run in responding.runs(name)}
    assert states == {"CRASHED", "COMPLETED"}
    assert len(journal.read(name).facts) == len(closed.facts)
    assert set(responding.production().databases) == {DATABASE, quarantine}
    lab.writer.stop()
    assert account_for(lab.writer.acknowledged(), lab.reader_dsn).missing == ()


def _start_gateway(lab: Lab) -> None:
    """A gateway in place of the killed one, half a minute later: the dead one's leases are over."""
    assert lab.gateway is not None
    lab.processes.forget(lab.gateway)
    with responder.connection() as connection:
        connection.execute("UPDATE dispatches SET lease_until = now() WHERE done_at IS NULL")
    lab.gateway = start_gateway(lab.processes, lab.environment, lab.gateway_url)


@pytest.mark.slow
def test_without_a_deployment_a_run_ends_at_its_plan_and_the_decision_starts_another(
    responding: Responding,
) -> None:
    responding.damage()
    name = responding.alert()
    responding.plan(name)
    by_shell = responding.flow(f"flows.incident:incident({name!r})")
    assert "returned awaiting approval" in by_shell.stdout, by_shell.stderr
    responding.decide(name, journal.read(name).plan_hash, "approve")
    responding.until_fact(name, FactKind.REPORTED)
    responding.until_idle(name)
    assert journal.read(name).outcome == "restored"
