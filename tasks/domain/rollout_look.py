"""A workload as it was looked at: its revisions, what is known of each, and how it stands."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.domain.holds import workload_target
from tasks.domain.rollout import Decision, undo_deployment, undo_stateful_set, without_hash
from tasks.domain.rollout_evidence import Evidence, Worth
from tasks.domain.rollout_history import CannotUndo
from tasks.domain.rollout_status import RolloutStatus, deployment_status, stateful_set_status
from tasks.domain.workloads import ControllerRevision, Deployment, Kind, Revision, StatefulSet


@dataclass(frozen=True, slots=True)
class Looked:
    """`history` is newest first; CannotUndo where it is not certain whose revisions these are.

    `kept` are the ControllerRevisions of a StatefulSet, which hold the way back.
    """

    workload: Deployment | StatefulSet
    history: tuple[Revision, ...] | CannotUndo
    evidence: tuple[Evidence, ...] = ()
    kept: tuple[ControllerRevision, ...] = ()

    @property
    def kind(self) -> Kind:
        """What it is."""
        is_deployment = isinstance(self.workload, Deployment)
        return Kind.DEPLOYMENT if is_deployment else Kind.STATEFUL_SET

    @property
    def target(self) -> str:
        """The name under which it is changed, held and locked: `deployment/rlhf-audit-trail`."""
        return workload_target(self.kind.value, self.workload.name)

    @property
    def status(self) -> RolloutStatus:
        """As `kubectl rollout status` would say."""
        found = self.workload
        if isinstance(found, Deployment):
            return deployment_status(found)
        return stateful_set_status(found)

    @property
    def paused(self) -> bool:
        """Only a Deployment can be."""
        return isinstance(self.workload, Deployment) and self.workload.paused

    @property
    def template(self) -> str:
        """The digest of the template that it has now."""
        return template_digest(self.workload.template.content)

    @property
    def revisions(self) -> tuple[Revision, ...]:
        """The history; nothing while it is not certain."""
        return () if isinstance(self.history, CannotUndo) else self.history

    @property
    def current(self) -> Revision | None:
        """The revision that it is told to run; None until the controller has made it."""
        return next((each for each in self.revisions if each.current), None)

    def held_by(self, holder: str, uid: str) -> Revision | None:
        """The revision that this very holder keeps, whatever its number is by now."""
        same = ((each.holder, each.holder_uid) == (holder, uid) for each in self.revisions)
        return next((one for one, is_it in zip(self.revisions, same, strict=True) if is_it), None)

    def said_of(self, revision: Revision, worth: Worth) -> tuple[str, ...]:
        """What speaks for a revision, or against it."""
        return tuple(
            each.text
            for each in self.evidence
            if each.holder == revision.holder and each.worth is worth
        )

    def undo(self, revision: Revision, because: tuple[str, ...] = ()) -> Decision:
        """The patch that brings the revision back, against the version that was read."""
        found = self.workload
        if isinstance(found, Deployment):
            return undo_deployment(found, revision, because)
        return undo_stateful_set(found, revision, self.kept, because)


def template_digest(content: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of a template without what controllers write into it.

    The same for a workload and for the revision that it was made from or returns to.
    """
    plain = json.dumps(without_hash(content), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(plain.encode()).hexdigest()
