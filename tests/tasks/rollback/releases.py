"""What tests of rollbacks do to a simulated cluster, and what they see of it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from deployments.lab.kubernetes.cluster import Cluster
from deployments.lab.kubernetes.manifests import API
from deployments.lab.kubernetes.rbac import Account, Rule
from tasks.domain.plan import Plan, PlanStep
from tasks.domain.release_diagnosis import diagnose
from tasks.domain.rollback_plan import PROCEDURE, RETURN, UNDO, Planned, plan_rollback, planned_in
from tasks.domain.rollback_wish import RollbackWish
from tasks.domain.rollout_evidence import Sighting
from tasks.domain.rollout_look import Looked
from tasks.domain.workloads import Kind
from tasks.settings import settings
from tasks.work import approvals, door, healthy_revisions, incidents, journal, rollbacks
from tasks.work.rollbacks import Site
from tests.tasks.passing import no_evidence
from tests.tasks.proposals import BEA, CARL, propose

TARGET = f"deployment/{API}"


def configure(cluster: Cluster) -> Mapping[str, str]:
    """The environment that points our settings at the cluster."""
    return {
        "RUNBOOK_KUBERNETES__CONFIG_FILE": str(cluster.config_file),
        "RUNBOOK_KUBERNETES__CONTEXT": "diagnose",
        "RUNBOOK_KUBERNETES__REMEDIATE_CONTEXT": "remediate",
        "RUNBOOK_ROLLBACK__SECONDS": "20",
        "RUNBOOK_ROLLBACK__RETURN_SECONDS": "5",
    }


@dataclass(frozen=True)
class Releases:
    cluster: Cluster

    @property
    def site(self) -> Site:
        return rollbacks.site_of(settings())

    def look(self, kind: Kind = Kind.DEPLOYMENT, name: str = API) -> Looked:
        return rollbacks.looked_at(self.site, kind, name)

    @property
    def images(self) -> tuple[str, ...]:
        """What the Deployment is told to run."""
        spec = self.cluster.get("deployments", API)["spec"]["template"]["spec"]
        return tuple(each["image"] for each in spec["containers"])

    @property
    def patches(self) -> list[str]:
        """Those that the API server was asked to keep."""
        asked = self.cluster.asked
        return [each for each in asked if each.startswith("PATCH") and "dryRun" not in each]

    def saw(self, number: int) -> str:
        """The revision of this number was seen healthy an hour ago; its holder."""
        holder = next(each.holder for each in self.look().revisions if each.number == number)
        at = datetime.now(UTC) - timedelta(hours=1)
        namespace = self.cluster.namespace
        healthy_revisions.keep(namespace, TARGET, [Sighting(holder, 3, at, "a test")], at)
        return holder

    def planned(self, wish: RollbackWish | None = None, looked: Looked | None = None) -> Plan:
        """The plan against what there is now, before people."""
        with incidents.durably() as connection:
            incident = incidents.open_in(
                connection, "Roll back", "release", PROCEDURE, "person", "anna"
            )
        causes = diagnose(looked or self.look(), wish)
        expires_at = datetime.now(UTC) + timedelta(hours=1)
        return propose(plan_rollback(incident, causes[0], expires_at))

    def approved(self, wish: RollbackWish | None = None, looked: Looked | None = None) -> Plan:
        plan = self.planned(wish, looked)
        for person in (BEA, CARL)[: plan.approvers_needed]:
            approvals.decide(plan.incident, plan.hash, "approved", person, "go on")
        return plan

    def carry_out(self, plan: Plan, step: str = UNDO) -> dict[str, Any]:
        """One step through the door, as the tasks do it."""
        planned = planned_in(plan)
        way = planned if step == UNDO else planned.returning()
        site = self.site
        with door.opened(
            plan.incident,
            planned.target,
            observe=lambda: rollbacks.planned_state(site, journal.read(plan.incident)),
            evidence_holds=no_evidence,
        ) as passage:
            return passage.carry_out(step, lambda fence: carried_out(site, way, fence))

    def without(self, identity: str, verb: str, resource: str) -> None:
        """Take one grant away from an identity."""
        account = self.cluster.service.accounts[self.cluster.tokens[identity]]
        rules: list[Rule] = []
        for rule in account.rules:
            verbs = tuple(each for each in rule.verbs if each != verb)
            rest = tuple(each for each in rule.resources if each != resource)
            rules.append(Rule(rule.verbs, rule.groups, rest, rule.names, rule.namespace))
            if resource in rule.resources:
                rules.append(Rule(verbs, rule.groups, (resource,), rule.names, rule.namespace))
        self.cluster.grant(identity, Account(account.user, tuple(rules)))


def carried_out(site: Site, way: Planned, fence: Any) -> tuple[str, dict[str, Any]]:
    return rollbacks.carried_out(site, way, fence, lambda *_: None)


def plan_of(incident: str) -> Plan:
    """A plan of the procedure as far as the journal is concerned."""
    steps = tuple(PlanStep(step, "go", TARGET, "nothing") for step in (UNDO, RETURN))
    return Plan(
        incident=incident,
        procedure=PROCEDURE,
        summary=f"go back {time.monotonic_ns()}",
        steps=steps,
        observed={"cause": "release.unwanted"},
        will_be_lost="nothing",
        expires_at=datetime.now(UTC) + timedelta(hours=1),
    )
