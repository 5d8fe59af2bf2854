"""What our own rollbacks have shown of revisions, read from the journal.

A release that answers with errors has all its pods available, so no controller speaks against it.
That it was taken out of service does, until it is seen serving again while nothing is wrong.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from tasks.domain.alertmanager import clean
from tasks.domain.facts import Fact, FactKind
from tasks.domain.rollback_plan import RETURN, UNDO
from tasks.domain.rollout_evidence import Evidence, Sighting, Worth
from tasks.domain.rollout_status import Progress

KINDS = (FactKind.STEP_DONE,)

_HOLDER_LIMIT = 253


def evidence_of_rollbacks(
    facts: Iterable[Fact], target: str, sightings: Sequence[Sighting] = ()
) -> tuple[Evidence, ...]:
    """What speaks against revisions of a `target` (`deployment/...`), of facts in their order.

    A rollback speaks against the revision that it left, and one that failed against the one that it
    was to. A return takes the first back: the release was not to blame. A later sighting outweighs
    either.
    """
    against: dict[str, Evidence] = {}
    for fact in facts:
        step, result = fact.data.get("step"), fact.data.get("result")
        if not isinstance(result, Mapping) or result.get("workload") != target:
            continue
        left, wanted = _holder(result, "left"), _holder(result, "wanted")
        if step == UNDO:
            against[left] = _evidence(left, f"{fact.incident} rolled it back", fact.at)
            if result.get("progress") == Progress.FAILED.value:
                text = f"{fact.incident} rolled back to it, which failed"
                against[wanted] = _evidence(wanted, text, fact.at)
        elif step == RETURN:
            against.pop(wanted, None)
    seen: dict[str, datetime] = {}
    for each in sightings:
        seen[each.holder] = max(each.seen_at, seen.get(each.holder, each.seen_at))
    return tuple(
        each
        for each in against.values()
        if each.holder and (each.at is None or seen.get(each.holder, each.at) <= each.at)
    )


def _holder(result: Mapping[str, Any], name: str) -> str:
    found = result.get(name)
    return found if isinstance(found, str) and len(found) <= _HOLDER_LIMIT else ""


def _evidence(holder: str, text: str, at: datetime) -> Evidence:
    return Evidence(holder, Worth.FAILED, clean(text, 200), at)
