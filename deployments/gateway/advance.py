"""What to do with a leased row: create, resume or take over a run of Prefect, or nothing.

Every way back into this module starts with looking: at the run's state, at the journal. A row is
bound to its run before the run starts, and the key of a run that replaces a dead one is made from
the dead one's id, so repeating any line after a kill changes nothing.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from deployments.gateway.outbox import Outbox, Row, last_run
from deployments.gateway.prefect_api import PrefectApi, Run
from tasks.domain.facts import FactKind
from tasks.domain.incident import Stage
from tasks.work import journal, responder
from tasks.work.incidents import ESCALATION, INCIDENT, REPORT, RESUME

log = logging.getLogger("gateway.dispatcher")

_RUNS_PER_ROW = 5
_FOLLOW_SECONDS = 2.0  # between two looks at a run that a worker carries out
_AWAY_SECONDS = 5.0  # for our own parts to come back, before another run goes on
_STUCK_AFTER = timedelta(minutes=10)
_NOT_OF_A_RUN = frozenset({FactKind.ALERT_RECEIVED, FactKind.ESCALATED})  # no sign of its life
_IN_FLIGHT = frozenset({"PENDING", "RUNNING"})
_GONE = frozenset({"CANCELLED", "COMPLETED", "CRASHED", "FAILED", ""})

WAITS = "the incident waits for a person"
"""How a note about a run that failed ends."""

DONE, FAILED, GAVE_UP = "done", "failed", "gave-up"
"""How an order can end; the label of a metric."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """The run is Scheduled, and a child may claim it; or `created` Claimed, for the one child.

    `has_no_tag_limits`: none of its tasks has to ask Prefect for a slot by its tags.
    """

    run: str
    entrypoint: str
    created: Mapping[str, Any] | None
    has_no_tag_limits: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Finished:
    """The row is done, with this result. `outcome` other than DONE needs a person."""

    result: str
    outcome: str = DONE


Next = HandOver | Wait | Finished


class Advance:
    """The rules, over one Prefect server and one gateway's outbox."""

    def __init__(
        self, api: PrefectApi, outbox: Outbox, stuck_after: timedelta = _STUCK_AFTER
    ) -> None:
        self._api = api
        self._outbox = outbox
        self._stuck_after = stuck_after

    def next_for(self, row: Row) -> Next:
        """What to do with the row now. Raises ClientError when Prefect cannot be asked."""
        if row.flow_run is not None:
            return self._go_on(row, row.flow_run)
        if row.deployment in {ESCALATION, REPORT}:
            return self._start(row)
        return self._respond(row)

    def ended(self, row: Row, run: str, state: str, name: str, *, away: bool) -> Next:
        """What follows when a child has reported the state in which its run ended.

        `away`: it failed since our own database or Prefect did not answer. That says nothing about
        the incident: no word of it in the journal, so another run goes on.
        """
        if state in {"PENDING", "RUNNING"}:  # the engine could not even say how it ended
            self._end(run, "CRASHED", "Crashed", "the engine ended without a state")
            return Wait(0)
        if state in {"CRASHED", "SCHEDULED"}:
            return Wait(0)
        if state == "CANCELLING":
            return self.cancelled(row, run)
        if state == "FAILED" and away:
            return Wait(_AWAY_SECONDS)
        if state == "FAILED":
            _note(row, _failed(run), f"failed:{run}")
            return Finished(name or state, FAILED)
        return Finished(name or state)

    def cancelled(self, row: Row, run: str) -> Finished:
        """Its process is dead, as a person wished: say so in Prefect and in the journal."""
        self._end(run, "CANCELLED", "Cancelled", "the gateway stopped its process")
        return _record_cancel(row, run)

    def _go_on(self, row: Row, bound: str) -> Next:
        """The row is bound to a run, and whoever worked on it lost the lease or died."""
        run = self._api.run(bound)
        if run is None or run.state == "CRASHED" or self._failed_unheard(row, run):
            return self._start(row)
        if run.state == "SCHEDULED":
            return self._hand_over(row, run)
        if run.state in _IN_FLIGHT:
            return self._take_over_or_follow(row, run)
        if run.state == "CANCELLING":
            return self.cancelled(row, run.id)
        if run.state == "CANCELLED":
            return _record_cancel(row, run.id)
        return Finished(run.name)

    def _failed_unheard(self, row: Row, run: Run) -> bool:
        """Whether it failed, and its child or who listened to it was gone before that was noted.

        Then nobody knows why it failed. To begin again does no harm, to leave it could.
        """
        if run.state != "FAILED":
            return False
        facts = journal.read(row.incident).facts
        is_noted = any(fact.data.get("text") == _failed(run.id) for fact in facts)
        return not is_noted and self._api.was_claimed_by_child(run.id)

    def _respond(self, row: Row) -> Next:
        """Go on with the incident's newest run, or begin a new one: both read the journal first.

        So an incident never has two runs, and two suspended ones least of all.
        """
        state = journal.read(row.incident)
        if state.stage is Stage.CLOSED and state.report:
            return Finished("closed already")  # without: whoever closed it by hand waits for one
        started = [fact for fact in state.facts if fact.kind is FactKind.RUN_STARTED]
        newest = str(started[-1].data["flow_run"]) if started else last_run(row.incident)
        run = self._api.run(newest) if newest else None
        if run is None or run.state in _GONE:
            return self._start(row)
        if run.state == "PAUSED":
            accepted = self._api.resume(run.id)
            return self._bind(row, run) if accepted else Wait(1)
        if run.state == "SCHEDULED":
            return self._bind(row, run)
        if run.state == "CANCELLING":
            self.cancelled(row, run.id)
            return self._start(row)
        return self._take_over_or_follow(row, run)

    def _take_over_or_follow(self, row: Row, run: Run) -> Next:
        """The run is in flight: begin anew when it is known to be dead, else look again later."""
        if self._declare_dead(run):
            return self._start(row)
        self._say_if_stuck(row, run)
        return Wait(_FOLLOW_SECONDS)

    def _say_if_stuck(self, row: Row, run: Run) -> None:
        """Note once that a worker's run is silent: only a person can know whether it lives."""
        facts = journal.read(row.incident).facts
        signs = [fact.at for fact in facts if fact.kind not in _NOT_OF_A_RUN]
        if not signs or datetime.now(UTC) - max(signs) < self._stuck_after:
            return
        text = (
            f"run {run.id} is {run.name} with a worker and has recorded nothing for "
            f"{self._stuck_after.total_seconds() / 60:.0f} minutes; the response waits for it: "
            "if its process is dead, cancel the run in Prefect"
        )
        if _note(row, text, f"stuck:{run.id}"):
            log.warning("%s", text, extra={"incident": row.incident})

    def _declare_dead(self, run: Run) -> bool:
        """Mark a run Crashed whose child is known to be dead; False when a worker has it.

        Known, because we hold the lease that its gateway extended while the child lived, and a
        child that merely stood still is refused by the fencing token at its next change.
        """
        if not self._api.was_claimed_by_child(run.id):
            return False
        log.warning("taking over run %s of a dead child", run.id)
        self._end(run.id, "CRASHED", "Crashed", "its warm child died")
        return True

    def _end(self, run: str, state: str, name: str, message: str) -> None:
        """Say in Prefect how a dead process's run ended, and the subflow runs that it left."""
        self._api.end_subflows(run, state, name, message)
        self._api.force_state(run, state, name, message)

    def _start(self, row: Row) -> Next:
        if row.attempts >= _RUNS_PER_ROW:
            text = f"gave up after {row.attempts} runs of {row.deployment} that crashed"
            _note(row, text, f"gave-up:{row.key}")
            return Finished("gave up", GAVE_UP)
        deployment = INCIDENT if row.deployment == RESUME else row.deployment
        after = f".after.{row.flow_run}" if row.flow_run else ""
        verb = {ESCALATION: "escalate ", REPORT: "report "}.get(deployment, "")
        run = self._api.create_run(
            deployment,
            key=row.key + after,
            name=f"{verb}{row.incident}",
            tags=[row.incident],
            parameters={"incident_id": row.incident},
            is_claimed=True,
        )
        return self._bind(row, run)

    def _bind(self, row: Row, run: Run) -> Next:
        if not self._outbox.record_run(row, run.id):
            return Wait(0)  # the lease is lost, and with it the right to start anything
        return self._hand_over(row, run)

    def _hand_over(self, row: Row, run: Run) -> HandOver:
        deployment = INCIDENT if row.deployment == RESUME else row.deployment
        entrypoint = self._api.deployment(deployment).entrypoint
        return HandOver(run.id, entrypoint, run.created, self._api.has_no_tag_limits)


def _failed(run: str) -> str:
    return f"run {run} failed: {WAITS}"


def _record_cancel(row: Row, run: str) -> Finished:
    _note(row, f"run {run} was cancelled in Prefect; its process is stopped", f"cancelled:{run}")
    return Finished("Cancelled")


def _note(row: Row, text: str, key: str) -> bool:
    """Journal it once; whether that was now."""
    with responder.connection() as connection, connection.transaction():
        _, is_new = journal.append_in(
            connection, row.incident, FactKind.NOTE, {"text": text}, key=key
        )
    return is_new
