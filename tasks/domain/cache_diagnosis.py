"""What is wrong with Redis: from one look to ranked causes. Pure; reads no alert's name.

Only a server that does not answer in its pod either is restarted: everything else would lose keys
for nothing, and says why a person must look.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tasks.domain.cache_readings import OK, CacheReadings, CacheState
from tasks.domain.causes import Cause, Confidence, Remedial, ranked
from tasks.domain.database_readings import Unread, known, seconds_since
from tasks.domain.holds import workload_target
from tasks.domain.inside import Answer, is_contradicted
from tasks.domain.instance_restart import described, is_silent, restart_remedial

COMPONENT = "cache"
RESTART_CACHE = "cache.resolution.restart"

_MIB = 1 << 20
_TOO_MANY = "max number of clients"
_THROWS_AWAY = "noeviction"


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """Shares (0 to 1) of maxmemory and of maxclients, from which on it is a cause."""

    full_share: float = 0.95
    crowded_share: float = 0.9


def diagnose(seen: CacheReadings, limits: CacheLimits) -> tuple[Cause, ...]:
    """Every cause that the look shows, the surest first."""
    if seen.unreachable:
        return ranked((*_unreachable(seen), *_killed(seen)))
    state = known(seen.state)
    if state is None:
        return ()
    return ranked(
        (
            *_loading(state),
            *_memory(seen, state, limits),
            *_persistence(seen, state),
            *_clients(seen, state, limits),
            *_replica(state),
            *_killed(seen),
            *_contradicted(seen),
        )
    )


def what_is_lost(seen: CacheReadings) -> str:
    """What a restart takes with it, as far as anybody can know of a server that says nothing."""
    instance, counted = known(seen.instance), seen.counted
    queued = f", {counted.queued:,} queued tasks when last counted" if counted.queued else ""
    if instance is not None and not instance.runs:
        return f"what was not saved is gone already with its process{queued}"
    if instance is not None and not instance.claim:
        return f"all keys, queued and unfinished tasks among them: its pod keeps no files{queued}"
    changes = f" ({counted.changes:,} changes when last counted)" if counted.changes else ""
    return f"keys and queued tasks that were written since its last save{changes}{queued}"


def why_no_restart(seen: CacheReadings) -> str:
    """Why we do not restart it ourselves."""
    instance = seen.instance
    if instance is None:
        return "which pod it runs in is not known: set RUNBOOK_CACHE__POD"
    if isinstance(instance, Unread):
        return instance.reason
    if not is_silent(seen.inside, instance):
        return f"whether it answers in its pod is unknown: {seen.inside.text}"
    return instance.refusal


def _unreachable(seen: CacheReadings) -> Iterable[Cause]:
    inside, instance = seen.inside, known(seen.instance)
    evidence = {
        "outside": seen.unreachable,
        "inside": inside.answer.value,
        "said": inside.text,
        "pod": described(instance) if instance else "",
    }
    if _TOO_MANY in inside.text or _TOO_MANY in seen.unreachable:
        text = f"Redis takes no more connections: {inside.text or seen.unreachable}"
        yield Cause("cache.clients-exhausted", COMPONENT, Confidence.PROVEN, text, evidence)
    elif inside.answer is Answer.READY:
        text = (
            "Redis answers in its pod and not from outside: look at its service, network policies "
            f"and address: {seen.unreachable}"
        )
        yield Cause("cache.unreachable-from-outside", COMPONENT, Confidence.PROVEN, text, evidence)
    elif inside.answer is Answer.BUSY:
        text = f"Redis loads its data or waits for its primary: {inside.text}"
        yield Cause("cache.starting", COMPONENT, Confidence.PROVEN, text, evidence)
    else:
        remedy = _restart(seen)
        hindrance = "" if remedy else f"; {why_no_restart(seen)}"
        silent = ", nor in its pod" if inside.answer is Answer.SILENT else ""
        text = f"Redis does not answer{silent}: {seen.unreachable}{hindrance}"
        yield Cause("cache.unreachable", COMPONENT, Confidence.PROVEN, text, evidence, remedy)


def _restart(seen: CacheReadings) -> Remedial | None:
    instance = known(seen.instance)
    if instance is None or not is_silent(seen.inside, instance):
        return None
    target = workload_target(*instance.owner.split("/", 1)) if "/" in instance.owner else ""
    return restart_remedial(RESTART_CACHE, instance, target, what_is_lost(seen))


def _killed(seen: CacheReadings) -> Iterable[Cause]:
    instance = known(seen.instance)
    if instance is not None and instance.out_of_memory:
        yield Cause(
            "cache.out-of-memory",
            COMPONENT,
            Confidence.LIKELY if seen.unreachable else Confidence.POSSIBLE,
            f"{described(instance)}: its limit is too small for what it holds, or maxmemory for "
            "its limit",
        )


def _contradicted(seen: CacheReadings) -> Iterable[Cause]:
    if is_contradicted(seen.inside):
        yield Cause(
            "cache.answers-disagree",
            COMPONENT,
            Confidence.POSSIBLE,
            "Redis answers from outside and not in its pod: is RUNBOOK_CACHE__POD the pod that its "
            f"service leads to? {seen.inside.text}",
        )


def _loading(state: CacheState) -> Iterable[Cause]:
    if state.loading:
        yield Cause(
            "cache.starting",
            COMPONENT,
            Confidence.PROVEN,
            "Redis loads its data from its disk: until then it answers nobody",
        )


def _memory(seen: CacheReadings, state: CacheState, limits: CacheLimits) -> Iterable[Cause]:
    share = state.memory_share
    evidence = {
        "used": state.used_memory,
        "maxmemory": state.max_memory,
        "policy": state.policy,
        "evicted": state.evicted,
        "evicted_per_second": round(seen.rates.evicted, 1),
        "refused_writes": state.oom,
    }
    used = f"{state.used_memory / _MIB:.0f} of {state.max_memory / _MIB:.0f} MiB ({state.policy})"
    is_full = share is not None and share >= limits.full_share
    if seen.rates.oom > 0 or (is_full and state.policy == _THROWS_AWAY):
        yield Cause(
            "cache.memory-full",
            COMPONENT,
            Confidence.PROVEN,
            f"Redis is full and refuses writes: {used}; raise maxmemory, or let workers drain the "
            "queue: a restart would lose it",
            evidence,
        )
    elif seen.rates.evicted > 0:
        yield Cause(
            "cache.evicting",
            COMPONENT,
            Confidence.LIKELY,
            f"Redis throws keys away, {seen.rates.evicted:.0f} a second, queued tasks may be among "
            f"them: {used}",
            evidence,
        )


def _persistence(seen: CacheReadings, state: CacheState) -> Iterable[Cause]:
    failing = [
        f"{name}: {said}"
        for name, said in (
            ("snapshot", state.bgsave),
            ("append-only file", state.aof_write if state.aof else OK),
            ("rewrite of the append-only file", state.aof_rewrite if state.aof else OK),
        )
        if said != OK
    ]
    if not failing:
        return
    age = seconds_since(state.saved_at, seen.at)
    yield Cause(
        "cache.persistence-failing",
        COMPONENT,
        Confidence.PROVEN,
        f"Redis cannot save ({'; '.join(failing)}), {state.changes:,} changes since the last save "
        f"{age / 60:.0f} min ago: look at its disk; a restart would lose them, and writes may be "
        "refused",
        {
            "failing": failing,
            "changes": state.changes,
            "seconds_since_save": round(age),
            "refused_writes": state.misconf,
        },
    )


def _clients(seen: CacheReadings, state: CacheState, limits: CacheLimits) -> Iterable[Cause]:
    is_crowded = bool(state.max_clients) and (
        state.clients >= state.max_clients * limits.crowded_share
    )
    if seen.rates.rejected > 0 or is_crowded:
        yield Cause(
            "cache.clients-exhausted",
            COMPONENT,
            Confidence.PROVEN if seen.rates.rejected > 0 else Confidence.LIKELY,
            f"{state.clients:,} of {state.max_clients:,} connections, {state.rejected:,} were "
            "refused: a client leaks them, or maxclients is too small",
            {
                "clients": state.clients,
                "max_clients": state.max_clients,
                "rejected": state.rejected,
            },
        )


def _replica(state: CacheState) -> Iterable[Cause]:
    if state.role not in {"", "master"}:
        yield Cause(
            "cache.is-replica",
            COMPONENT,
            Confidence.LIKELY,
            "the server that we are told is a replica"
            f"{'' if state.replica_linked else ', cut off from its primary'}: it takes no writes",
        )
