"""Closing a bag of evidence: what was collected and skipped, the manifests, the signature last.

From `collection.json` on everything follows from what lies there, so an attempt that was killed
between two of the files is completed with the same bytes. A bag with its note is closed: it is
found, and never written again.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from json import loads
from typing import Any

from tasks.clients.errors import Malformed, NotFound
from tasks.clients.object_store import ObjectStore
from tasks.domain import bagit
from tasks.domain.bag_seal import NOTE, BagSeal
from tasks.domain.collection import (
    COLLECTION,
    CUSTODY,
    ITEMS,
    Collection,
    Part,
    Skipped,
    json_bytes,
    meta_bytes,
    meta_path,
    read_collection,
)
from tasks.domain.custody import Action
from tasks.domain.errors import BadInput, NotProven
from tasks.domain.ledger import NoteError, NoteSigner, NoteVerifier
from tasks.domain.ledger.notes import MAX_NOTE_BYTES, open_note
from tasks.domain.untrusted import visible
from tasks.work.bag_state import SMALL_BYTES, BagPlace
from tasks.work.evidence import Item
from tasks.work.evidence_bag import OpenBag

_WHOLE = 1 << 50
_AT_A_TIME = 8


@dataclass(frozen=True, slots=True)
class ClosedBag:
    """A bag that is signed: what it holds, what could not be had, and what stands for it.

    `items`: the payloads and the files that prove them, as they lie in the bucket.
    """

    root: str
    seal: BagSeal
    collected: int
    skipped: tuple[Skipped, ...]
    encrypted: bool
    items: tuple[Item, ...]


def closed_bag(
    place: BagPlace, store: ObjectStore, bucket: str, key: NoteVerifier
) -> ClosedBag | None:
    """The bag, if an earlier attempt has closed it: signed under our `key`, of this incident.

    NotProven when it is signed by anybody else, or no longer stands.
    """
    try:
        note = store.get(bucket, place.root + NOTE, MAX_NOTE_BYTES)
    except NotFound:
        return None
    data = store.get(bucket, place.root + COLLECTION, SMALL_BYTES)
    try:
        seal = BagSeal.read(open_note(note.decode(), [key]))
        _check_seal(seal, place, store, bucket)
    except (NoteError, UnicodeDecodeError) as error:
        raise NotProven(
            f"expected s3://{bucket}/{place.root} to be closed by us, found {error}: somebody "
            "wrote there; keep it, look, and tell security"
        ) from error
    try:
        collected, skipped = read_collection(loads(data))
    except (ValueError, BadInput) as error:
        raise Malformed(f"s3://{bucket}/{place.root}: expected our bag, found {error}") from error
    known = {each.path: each.sha256 for each in collected}
    proofs = dict.fromkeys([COLLECTION, CUSTODY, bagit.MANIFEST, bagit.TAG_MANIFEST, NOTE], "")
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        look = partial(_item, store, bucket, place.root)
        items = tuple(pool.map(look, *zip(*(known | proofs).items(), strict=True)))
    encrypted = all(each.encrypted for each in collected)
    return ClosedBag(place.root, seal, len(collected), skipped, encrypted, items)


def _check_seal(seal: BagSeal, place: BagPlace, store: ObjectStore, bucket: str) -> None:
    """The seal is of this bag, and of the manifests that lie there. Raises NotProven."""
    there = {
        bagit.MANIFEST: seal.manifest,
        bagit.TAG_MANIFEST: seal.tag_manifest,
    }
    is_ours = (seal.incident, seal.bag) == (place.incident, place.name) and all(
        _sha256(store.get(bucket, place.root + path, bagit.MOST_BYTES)) == digest
        for path, digest in there.items()
    )
    if not is_ours:
        raise NotProven(
            f"expected s3://{bucket}/{place.root} as it was signed, found another bag's seal or "
            "other manifests: list the versions, and tell security"
        )


def close_bag(
    bag: OpenBag,
    wanted: tuple[Part, ...],
    skipped: tuple[Skipped, ...],
    begun: datetime,
    ended: datetime,
    signer: NoteSigner,
) -> ClosedBag:
    """Write everything that makes a bag of the items, the signature last. Raises as the store does.

    Where an earlier attempt has written down what was collected, that counts.
    """
    root = bag.place.root
    if root + COLLECTION not in bag.keys:
        made = Collection(
            incident=bag.place.incident,
            bag=bag.place.name,
            purpose=bag.place.purpose,
            begun=begun,
            ended=ended,
            recipients=bag.place.recipients,
            wanted=wanted,
            collected=tuple(sorted(bag.collected.values(), key=lambda each: each.begun)),
            skipped=skipped,
        )
        bag.put(root + COLLECTION, json_bytes(made.as_json()))
    data = bag.store.get(bag.bucket, root + COLLECTION, SMALL_BYTES)
    digests, sizes = _payload(bag, data)
    _close_custody(bag, data, digests)
    custody = b"".join(bag.lines)
    digests[CUSTODY], sizes[CUSTODY] = _sha256(custody), len(custody)
    bag.put(root + CUSTODY, custody)
    tags = {
        bagit.BAGIT: bagit.DECLARATION,
        bagit.INFO: _info(bag, loads(data), sizes),
        bagit.MANIFEST: bagit.manifest_text(digests),
    }
    tags[bagit.TAG_MANIFEST] = bagit.manifest_text(
        {path: _sha256(text.encode()) for path, text in tags.items()}
    )
    for path, text in tags.items():
        bag.put(root + path, text.encode())
    seal = BagSeal(
        incident=bag.place.incident,
        bag=bag.place.name,
        manifest=_sha256(tags[bagit.MANIFEST].encode()),
        tag_manifest=_sha256(tags[bagit.TAG_MANIFEST].encode()),
        custody=bag.head,
        key=signer.verifier.encoded,
    )
    bag.put(root + NOTE, seal.signed(signer).encode())
    closed = closed_bag(bag.place, bag.store, bag.bucket, signer.verifier)
    if closed is None:
        raise NotProven(f"expected the bag {root} that was just closed, found none")
    return closed


def _payload(bag: OpenBag, collection: bytes) -> tuple[dict[str, str], dict[str, int]]:
    """SHA-256 and size of every file below data/ but the custody log, unfinished ones read."""
    root = bag.place.root
    digests, sizes = {COLLECTION: _sha256(collection)}, {COLLECTION: len(collection)}
    for item in bag.collected.values():
        meta = meta_bytes(item)
        digests |= {item.path: item.sha256, meta_path(item.id): _sha256(meta)}
        sizes |= {item.path: item.size, meta_path(item.id): len(meta)}
    known = {root + path for path in digests}
    for each in bag.store.list(bag.bucket, root + ITEMS):
        if each.key not in known:
            path = each.key.removeprefix(root)
            digest = hashlib.sha256()
            for piece in bag.store.get_pieces(bag.bucket, each.key, _WHOLE):
                digest.update(piece)
            digests[path], sizes[path] = digest.hexdigest(), each.size
    return digests, sizes


def _close_custody(bag: OpenBag, collection: bytes, digests: dict[str, str]) -> None:
    """The last entries: what was skipped, what an attempt left that ended, and the collection."""
    name = "collection"
    if bag.lines and loads(bag.lines[-1])["item_id"] == name:
        return
    _, skipped = read_collection(loads(collection))
    acts = [
        replace(
            bag.act(f"{each.id}/skipped", each.id, Action.DISCOVERED),
            remarks=f"skipped: {each.reason}",
        )
        for each in skipped
    ]
    finished = {each.path for each in bag.collected.values()}
    for path, digest in digests.items():
        if "/payload" in path and path not in finished:
            why = "stored by an attempt that ended before it was described; its sha256 as stored"
            acts.append(replace(bag.act(path, path, Action.DISCOVERED), sha256=digest, remarks=why))
    made = bag.act(name, name, Action.HASHED)
    acts.append(replace(made, sha256=_sha256(collection), size=len(collection)))
    bag.record(acts)


def _info(bag: OpenBag, collection: dict[str, Any], sizes: dict[str, int]) -> str:
    """From what was written down alone: settings may have changed since."""
    ended = datetime.fromisoformat(collection["ended"])
    to = " ".join(collection["recipients"])
    in_clear = sum(not each["encrypted"] for each in collection["collected"])
    encryption = f"age, to {to}" if not in_clear else f"none of {in_clear} items: in clear"
    return bagit.info_text(
        [
            ("Bagging-Date", ended.date().isoformat()),
            ("External-Identifier", f"{bag.place.incident}/{bag.place.name}"),
            ("External-Description", visible(f"Evidence: {collection['purpose']}", 500)),
            ("Payload-Oxum", bagit.payload_oxum(sizes.values())),
            ("Encryption", encryption),
            ("Custody-Head", f"{bag.head.entries} {bag.head.hash}"),
            ("Collection-Ended", ended.isoformat()),
        ]
    )


def _item(store: ObjectStore, bucket: str, root: str, path: str, digest: str) -> Item:
    """As it lies there; `digest` is ours, and where we have none, the one that it declares."""
    key = root + path
    head = store.head(bucket, key)
    is_locked = head.lock_mode and head.retain_until and head.retain_until > datetime.now(UTC)
    if not is_locked or (digest and head.sha256 not in {"", digest}):
        raise NotProven(
            f"expected s3://{bucket}/{key} locked and as it was sealed, found that it is not: does "
            "the bucket have Object Lock enabled? Else list its versions, and tell security"
        )
    return Item(
        name=path.removeprefix(bagit.PAYLOAD),
        key=key,
        sha256=digest or head.sha256,
        size=head.size,
        locked_until=head.retain_until.isoformat() if head.retain_until else "",
        version_id=head.version_id,
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
