"""A sealed log with witnesses, bundles of it, and how an attacker changes them.

A bundle is a dict from name to bytes; `lied` writes the manifest anew, as whoever made the bundle
can.
"""

import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from tasks.domain.ledger import KeyType, LogKey, NoteSigner, Trust, signature_line
from tasks.domain.ledger.bundle_files import Selection
from tasks.work import bundle_verifier as verifier
from tasks.work.bundles import Contents, make_bundle
from tests.domain.ledger.sample_log import ORIGIN, SIGNER, MemoryLog, chained, note_of, sealed_files

SEEN_AT = datetime(2026, 3, 14, 3, 0, tzinfo=UTC)
WITNESSES = [
    NoteSigner.from_seed(f"witness-{number}.example", bytes([10 + number]) * 32, KeyType.WITNESS)
    for number in range(3)
]
TRUST = Trust(
    ORIGIN,
    (LogKey(SIGNER.verifier),),
    tuple(each.verifier for each in WITNESSES),
    quorum=2,
)
OLDER = (0, 100, 250)
LINES = chained(300)


def witnessed(lines, signer=SIGNER, origin=ORIGIN, witnesses=WITNESSES[:2]):
    """A head with cosignatures."""
    note = note_of(lines, signer, origin)
    text = note.rpartition("\n\n")[0] + "\n"
    return note + "".join(signature_line(text, each, SEEN_AT) for each in witnesses)


def log_files(lines=LINES, older=OLDER):
    return sealed_files(lines, older=older) | {
        f"checkpoints/{len(lines)}": witnessed(lines).encode()
    }


def made(target: Path, files=None, trust=TRUST, records="", **options) -> Path:
    """A bundle of the log, at `target`."""
    contents = Contents(Selection.parse(records), **options)
    make_bundle(MemoryLog(log_files() if files is None else files), trust, target, contents)
    return target


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def lied(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The same files under a manifest that fits them."""
    named = sorted(set(files) - {"MANIFEST"})
    lines = [f"{sha256(files[name]).hexdigest()}  {name}\n" for name in named]
    return dict(files) | {"MANIFEST": "".join(lines).encode()}


def in_folder(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def in_zip(path: Path, files: Mapping[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def policy_of(trust: Trust = TRUST) -> verifier.Policy:
    """The policy as an auditor has it: the keys, by another way than the bundle."""
    keys = [each.verifier.encoded for each in trust.log_keys]
    keys += [each.encoded for each in trust.witnesses]
    given = verifier.policy_of_keys(keys, trust.origin)
    return verifier.Policy(given.origin, given.log_keys, given.witnesses, trust.quorum)
