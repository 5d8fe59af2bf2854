"""Preserving an incident's evidence in a bag: the volatile first, everything, then the signature.

Both calls work on the same bag, so what the first has sealed the second does not read again, and a
killed one is gone on with.
"""

from datetime import UTC, datetime
from functools import partial

from tasks.clients.object_store import ObjectStore
from tasks.domain.collection import Part, Skipped, Volatility, in_order
from tasks.domain.errors import BadInput
from tasks.domain.ledger import NoteSigner
from tasks.domain.untrusted import visible
from tasks.settings import Settings
from tasks.work import journal
from tasks.work.bag_closing import ClosedBag, close_bag, closed_bag
from tasks.work.bag_state import BagPlace
from tasks.work.bag_timestamps import stamp_bag
from tasks.work.collectors_cluster import cluster_objects, pod_logs
from tasks.work.collectors_patient import (
    backups_listing,
    cache_info,
    database_dump,
    database_views,
    sealed_log,
)
from tasks.work.collectors_records import api_answers, metric_ranges, own_records
from tasks.work.evidence_bag import OpenBag
from tasks.work.evidence_pieces import Piece, Wanted
from tasks.work.scratch import alone

_WAIT_SECONDS = 600.0

NOT_TAKEN = {
    Part("memory.processes", "Memory of processes", Volatility.MEMORY): (
        "needs privileges on the nodes that the runbook does not have: take it by hand there"
    ),
    Part("traffic.capture", "Network traffic", Volatility.MEMORY): (
        "needs an ephemeral container with NET_RAW in a suspected pod, which changes the pod and "
        "which neither identity of the runbook may make: capture it at the network, by hand"
    ),
    Part("cluster.writable-layers", "Writable layers of containers", Volatility.WRITABLE): (
        "the API of Kubernetes does not hand them out: copy them on the nodes before pods end"
    ),
    Part("disk.volumes", "Snapshots of volumes", Volatility.DISK): (
        "neither identity of the runbook may make one: have the storage make them"
    ),
}
"""What evidence may need besides, and why it is not taken here: it stands in every bag."""

LARGE = frozenset({"database.dump", "log.sealed"})
"""Parts that grow with the audit log."""


def preserve_volatile(known: Settings, place: BagPlace, onset: datetime) -> list[Skipped]:
    """Seal what the next second may change, each within its time; what could not be had."""
    store = ObjectStore(known.store)
    try:
        with alone(_lock(place), wait_seconds=_WAIT_SECONDS):
            bag = OpenBag(place, store, known.store, known.evidence.item_bytes)
            wanted = _wanted(known, place.incident, store, onset)
            urgent = [each for each in wanted if each.part.volatility is Volatility.CONNECTIONS]
            return bag.collect(urgent)
    finally:
        store.close()


def preserve_everything(
    known: Settings,
    place: BagPlace,
    onset: datetime,
    signer: NoteSigner,
    *,
    sealed_beside: str = "",
) -> ClosedBag:
    """Seal all that is not sealed yet, and close the bag; a closed one is found.

    `sealed_beside`: where the database and the log are sealed already, outside the bag: they are
    not read again. Raises what the evidence store says (Transient: call it again), NotProven when
    what was sealed no longer stands.
    """
    store = ObjectStore(known.store)
    try:
        with alone(_lock(place), wait_seconds=_WAIT_SECONDS):
            earlier = closed_bag(place, store, known.store.evidence_bucket, signer.verifier)
            if earlier is not None:
                return earlier
            begun = datetime.now(UTC)
            bag = OpenBag(place, store, known.store, known.evidence.item_bytes)
            wanted = _wanted(known, place.incident, store, onset)
            if sealed_beside:
                wanted = [_beside(each, sealed_beside) for each in wanted]
            skipped = bag.collect(wanted)
            parts = tuple(each.part for each in wanted)
            ended = datetime.now(UTC)
            return close_bag(bag, parts, tuple(skipped), begun, ended, signer)
    finally:
        store.close()


def stamp(known: Settings, place: BagPlace) -> str:
    """Ask for a time-stamp token of a closed bag, unless it has one; what has become of it."""
    store = ObjectStore(known.store)
    try:
        return stamp_bag(known.evidence, store, known.store, place.root)
    finally:
        store.close()


def bag_place(known: Settings, incident: str, hold: int, purpose: str) -> BagPlace:
    """The bag of one hold: what is found later has a hold, and a bag, of its own."""
    recipients = known.evidence.recipients
    return BagPlace(incident, str(hold), visible(purpose, 300), recipients)


def onset_of(incident: str) -> datetime:
    """When it was opened; of an incident that nobody knows, now."""
    return journal.read(incident).opened_at or datetime.now(UTC)


def _wanted(known: Settings, incident: str, store: ObjectStore, onset: datetime) -> list[Wanted]:
    """Everything, in the order of volatility."""
    every = [
        *sealed_log(known, store),
        *database_views(known),
        cache_info(known),
        *cluster_objects(known),
        pod_logs(known),
        database_dump(known),
        *api_answers(known),
        *metric_ranges(known, onset, datetime.now(UTC)),
        *own_records(incident),
        backups_listing(known, store),
        *(Wanted(part, part.title, partial(_refuse, why)) for part, why in NOT_TAKEN.items()),
    ]
    by_part = {each.part.id: each for each in every}
    return [by_part[part.id] for part in in_order(each.part for each in every)]


def _beside(wanted: Wanted, place: str) -> Wanted:
    """A large part that is sealed elsewhere says where."""
    if wanted.part.id not in LARGE:
        return wanted
    return Wanted(wanted.part, wanted.part.title, partial(_refuse, f"it is sealed in {place}"))


def _refuse(why: str) -> list[Piece]:
    raise BadInput(why)


def _lock(place: BagPlace) -> str:
    return f"evidence-{place.incident}-{place.name}"
