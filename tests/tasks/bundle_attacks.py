"""How bundles are attacked, and what must come of each: by carriers, and by makers who lie.

A maker's lie comes with a manifest that fits it (`lied`).
"""

import base64
import json
import re
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tasks.domain.ledger import Checkpoint, sign_checkpoint
from tasks.domain.ledger.bundle_files import policy_text
from tasks.work import bundle_verifier as verifier
from tasks.work.bundle_verifier import COULD_NOT_TELL, NOT_PROVED, PROVED, NotABundle
from tests.domain.ledger.sample_log import ORIGIN, STRANGER, STRANGERS, chained, note_of, plain_leaf
from tests.tasks.bundle_fixture import (
    LINES,
    WITNESSES,
    files_of,
    lied,
    log_files,
    made,
    policy_of,
    witnessed,
)

EVIL = chained(300, LINES[:50], session_id="evil")
PROOF = "records/7.tlog-proof"
LINE_FILE = "lines/0-299.jsonl"


@cache
def samples() -> dict[str, dict[str, bytes]]:
    """The files of a default bundle, of a full one with lines, and of a forger's."""
    forged = log_files(EVIL) | {
        f"checkpoints/{size}": note_of(EVIL[:size], STRANGER).encode()
        for size in (0, 100, 250, 300)
    }
    with TemporaryDirectory() as name:
        folder = Path(name)
        return {
            "plain": files_of(made(folder / "plain", records="5,7-9")),
            "full": files_of(made(folder / "full", full=True, with_lines=True)),
            "forged": files_of(made(folder / "forged", forged, STRANGERS, records="5")),
        }


def outcome(path):
    """(exit code, what is said) under the keys that the auditor has."""
    try:
        report = verifier.verify_bundle(str(path), policy_of())
    except NotABundle as error:
        return COULD_NOT_TELL, str(error)
    return report.code, " ".join(verifier.words(report).split())


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def without(files, *names):
    return {name: data for name, data in files.items() if name not in names}


def replaced(files, old, new, only=None):
    return {
        name: data.replace(old, new) if only in (None, name) else data
        for name, data in files.items()
    }


def with_head(files, note):
    """Everywhere another newest head."""
    return lied(replaced(files, files["checkpoints/300"], note.encode()))


def with_leaf(files, leaf):
    line = base64.b64encode(b"leaf " + leaf.hex().encode())
    return lied(files | {PROOF: re.sub(rb"extra .*", b"extra " + line, files[PROOF])})


def other_hash(files, name):
    """The first hash of a proof replaced by another, well formed."""
    lines = files[name].split(b"\n")
    at = next(at for at, line in enumerate(lines) if line.endswith(b"=") and b" " not in line)
    lines[at] = base64.b64encode(bytes(32))
    return lied(files | {name: b"\n".join(lines)})


def other_manifest(files, change):
    return files | {"MANIFEST": change(files["MANIFEST"])}


def verdict_changed(files, **changes):
    said = json.loads(files["verdict.json"]) | changes
    return lied(files | {"verdict.json": json.dumps(said).encode()})


def bare(files):
    """Without older heads and lines."""
    kept = {name for name in files if "/" not in name or name.startswith("tile/")}
    return {name: files[name] for name in kept | {"checkpoints/300"}}


def reversed_lines(data):
    return b"".join(sorted(data.splitlines(keepends=True), reverse=True))


def later(signature):
    """The signature line with the witness's time one second later."""
    mark, name, packed = signature.split(" ")
    raw = bytearray(base64.b64decode(packed))
    raw[11] ^= 1
    return f"{mark} {name} {base64.b64encode(bytes(raw)).decode()}"


DEEP = b"[" * 100_000
NOTE = witnessed(LINES)
SIGNATURE = NOTE.rstrip("\n").rpartition("\n")[2]

# name: (which bundle, how it is changed, exit code, words that say why)
ATTACKS = {
    "nothing changed": ("plain", dict, PROVED, "PROVED under the keys that you gave"),
    "nothing changed, full": ("full", dict, PROVED, "all 300 leaf hashes"),
    "nothing changed, manifest written anew": ("plain", lied, PROVED, "PROVED"),
    # By whoever carries it: the manifest no longer fits.
    "leaf altered": ("plain", lambda f: f | {PROOF: flip(f[PROOF], 40)}, NOT_PROVED, "altered"),
    "readme altered": ("plain", lambda f: f | {"README.txt": b"Pay here."}, NOT_PROVED, "altered"),
    "verifier altered": (
        "plain",
        lambda f: f | {"verify.py": b"print('ok')"},
        NOT_PROVED,
        "altered",
    ),
    "file missing": (
        "plain",
        lambda f: without(f, PROOF),
        NOT_PROVED,
        "records/7.tlog-proof is missing",
    ),
    "readme missing": (
        "plain",
        lambda f: lied(without(f, "README.txt")),
        NOT_PROVED,
        "README.txt is missing",
    ),
    "file added": (
        "plain",
        lambda f: f | {"records/6.tlog-proof": b"x"},
        NOT_PROVED,
        "unknown file",
    ),
    "file added under a trap's name": (
        "plain",
        lambda f: f | {"cryptography.py": b"x"},
        NOT_PROVED,
        "unknown file",
    ),
    "file truncated": ("plain", lambda f: f | {PROOF: f[PROOF][:-9]}, NOT_PROVED, "altered"),
    "manifest truncated": (
        "plain",
        lambda f: other_manifest(f, lambda data: data[:-9]),
        NOT_PROVED,
        "cut off",
    ),
    "manifest cut at a line": (
        "plain",
        lambda f: other_manifest(f, lambda data: data[: data.rindex(b"\n", 0, -1) + 1]),
        NOT_PROVED,
        "verify.py is missing",
    ),
    "manifest empty": ("plain", lambda f: other_manifest(f, lambda _: b""), NOT_PROVED, "cut off"),
    "manifest names a file twice": (
        "plain",
        lambda f: other_manifest(f, lambda data: data.splitlines(keepends=True)[0] + data),
        NOT_PROVED,
        "twice",
    ),
    "manifest in another order": (
        "plain",
        lambda f: other_manifest(f, reversed_lines),
        NOT_PROVED,
        "not sorted",
    ),
    "manifest is not text": (
        "plain",
        lambda f: other_manifest(f, lambda data: data + b"\xff\n"),
        NOT_PROVED,
        "UTF-8",
    ),
    "manifest with other line ends": (
        "plain",
        lambda f: other_manifest(f, lambda data: data.replace(b"\n", b"\r\n")),
        NOT_PROVED,
        "no hash and name",
    ),
    "manifest leads out of the bundle": (
        "plain",
        lambda f: other_manifest(f, lambda data: b"0" * 64 + b"  ../secret\n" + data),
        NOT_PROVED,
        "../secret",
    ),
    # By whoever makes it: the manifest fits the lie.
    "leaf of another record": (
        "plain",
        lambda f: with_leaf(f, plain_leaf(LINES[8])),
        NOT_PROVED,
        "leads to root",
    ),
    "leaf of no record": ("plain", lambda f: with_leaf(f, bytes(32)), NOT_PROVED, "leads to root"),
    "path altered": ("plain", lambda f: other_hash(f, PROOF), NOT_PROVED, "leads to root"),
    "proof under another number": (
        "plain",
        lambda f: lied(without(f, PROOF) | {"records/6.tlog-proof": f[PROOF]}),
        NOT_PROVED,
        "does not say which record",
    ),
    "index altered with the name": (
        "plain",
        lambda f: lied(
            without(f, PROOF) | {"records/6.tlog-proof": f[PROOF].replace(b"index 7", b"index 6")}
        ),
        NOT_PROVED,
        "leads to root",
    ),
    "index beyond the log": (
        "plain",
        lambda f: lied(
            without(f, PROOF)
            | {"records/300.tlog-proof": f[PROOF].replace(b"index 7", b"index 300")}
        ),
        NOT_PROVED,
        "does not say which record",
    ),
    "proof without its leaf": (
        "plain",
        lambda f: lied(f | {PROOF: re.sub(rb"extra .*\n", b"", f[PROOF])}),
        NOT_PROVED,
        "proper form",
    ),
    "proof about an older head": (
        "plain",
        lambda f: lied(replaced(f, f["checkpoints/300"], f["checkpoints/250"], only=PROOF)),
        NOT_PROVED,
        "another checkpoint",
    ),
    "growth altered": (
        "plain",
        lambda f: other_hash(f, "consistency/100"),
        NOT_PROVED,
        "beginning",
    ),
    "growth of another size": (
        "plain",
        lambda f: lied(f | {"consistency/100": f["consistency/250"]}),
        NOT_PROVED,
        "another size",
    ),
    "growth left out": (
        "plain",
        lambda f: lied(without(f, "consistency/100")),
        NOT_PROVED,
        "without its consistency",
    ),
    "older head left out": (
        "plain",
        lambda f: lied(without(f, "checkpoints/100")),
        NOT_PROVED,
        "no older checkpoint",
    ),
    "older head and its growth left out: less is said, nothing false": (
        "plain",
        lambda f: lied(without(f, "checkpoints/100", "consistency/100")),
        PROVED,
        "2 older heads (sizes 0, 250)",
    ),
    "older head of a fork, truly signed": (
        "plain",
        lambda f: lied(f | {"checkpoints/100": note_of(EVIL[:100]).encode()}),
        NOT_PROVED,
        "two histories",
    ),
    "older head of a fork, in a full bundle": (
        "full",
        lambda f: lied(f | {"checkpoints/100": note_of(EVIL[:100]).encode()}),
        NOT_PROVED,
        "two histories",
    ),
    "older head signed by a stranger": (
        "plain",
        lambda f: lied(f | {"checkpoints/100": note_of(LINES[:100], STRANGER).encode()}),
        NOT_PROVED,
        "has signed it",
    ),
    "heads exchanged": (
        "plain",
        lambda f: lied(
            f | {"checkpoints/300": f["checkpoints/250"], "checkpoints/250": f["checkpoints/300"]}
        ),
        NOT_PROVED,
        "checkpoints/300",
    ),
    "newest head left out": (
        "plain",
        lambda f: lied(without(f, "checkpoints/300")),
        NOT_PROVED,
        "cosignatures by 2 of 3",
    ),
    "no head at all": (
        "plain",
        lambda f: lied({name: data for name, data in f.items() if not name.startswith("checkp")}),
        NOT_PROVED,
        "at least one checkpoint",
    ),
    "newest head of another history": (
        "plain",
        lambda f: with_head(f, witnessed(EVIL)),
        NOT_PROVED,
        "leads to root",
    ),
    "newest head of another log": (
        "plain",
        lambda f: with_head(f, witnessed(LINES, origin="audit.example/dev")),
        NOT_PROVED,
        "expected a head of the log",
    ),
    "newest head signed by a stranger": (
        "plain",
        lambda f: with_head(f, witnessed(LINES, STRANGER)),
        NOT_PROVED,
        "has signed it",
    ),
    "a witness too few": (
        "plain",
        lambda f: with_head(f, witnessed(LINES, witnesses=WITNESSES[:1])),
        NOT_PROVED,
        "found 1",
    ),
    "one witness twice": (
        "plain",
        lambda f: with_head(f, witnessed(LINES, witnesses=WITNESSES[:1] * 2)),
        NOT_PROVED,
        "two signatures",
    ),
    "a witness's time altered": (
        "plain",
        lambda f: with_head(f, NOTE.replace(SIGNATURE, later(SIGNATURE))),
        NOT_PROVED,
        "signature by witness-1.example is wrong",
    ),
    "size raised under a true signature": (
        "plain",
        lambda f: with_head(f, NOTE.replace("\n300\n", "\n301\n")),
        NOT_PROVED,
        "wrong",
    ),
    "head without signatures": (
        "plain",
        lambda f: with_head(f, NOTE.partition("\n\n")[0]),
        NOT_PROVED,
        "signature lines",
    ),
    "head is not text": (
        "plain",
        lambda f: lied(f | {"checkpoints/300": b"\xff\xfe"}),
        NOT_PROVED,
        "UTF-8",
    ),
    "head is huge": (
        "plain",
        lambda f: lied(f | {"checkpoints/300": b"x" * 70_000}),
        NOT_PROVED,
        "at most 65536",
    ),
    "newer head that nobody signed": (
        "plain",
        lambda f: lied(
            f
            | {
                "checkpoints/999": sign_checkpoint(
                    Checkpoint(ORIGIN, 999, bytes(32)), STRANGER
                ).encode()
            }
        ),
        NOT_PROVED,
        "checkpoints/999",
    ),
    "everything forged under a stranger's key": ("forged", dict, NOT_PROVED, "has signed it"),
    "other keys in its policy": (
        "plain",
        lambda f: lied(f | {"trust.toml": policy_text(STRANGERS).encode()}),
        PROVED,
        "names other keys than you gave; yours were used",
    ),
    "policy is nonsense": (
        "plain",
        lambda f: lied(f | {"trust.toml": b"[[log_keys]\n"}),
        NOT_PROVED,
        "plain form",
    ),
    "policy is not text": (
        "plain",
        lambda f: lied(f | {"trust.toml": b"\xff"}),
        NOT_PROVED,
        "UTF-8",
    ),
    "verifier replaced": (
        "plain",
        lambda f: lied(f | {"verify.py": b"print('PROVED')"}),
        PROVED,
        "do not run it",
    ),
    "verdict about another head": (
        "plain",
        lambda f: verdict_changed(f, checkpoint={"origin": ORIGIN, "size": 1, "root": ""}),
        NOT_PROVED,
        "another head",
    ),
    "verdict of unknown words": (
        "plain",
        lambda f: verdict_changed(f, verdict="fine"),
        NOT_PROVED,
        "another",
    ),
    "verdict is no object": (
        "plain",
        lambda f: lied(f | {"verdict.json": b"[]"}),
        NOT_PROVED,
        "not a verdict",
    ),
    "verdict nested without end": (
        "plain",
        lambda f: lied(f | {"verdict.json": DEEP}),
        NOT_PROVED,
        "not a verdict",
    ),
    "verdict is not text": (
        "plain",
        lambda f: lied(f | {"verdict.json": b"\xff"}),
        NOT_PROVED,
        "UTF-8",
    ),
    "file of no known name, listed": (
        "plain",
        lambda f: lied(f | {"records/7.tlog-proof.exe": b"x"}),
        NOT_PROVED,
        "not a file that",
    ),
    "tile altered": (
        "full",
        lambda f: lied(f | {"tile/0/000": flip(f["tile/0/000"], 99)}),
        NOT_PROVED,
        "leaf hashes give",
    ),
    "tile altered, and nothing else to show it": (
        "full",
        lambda f: lied(bare(f) | {"tile/0/000": flip(f["tile/0/000"], 99)}),
        NOT_PROVED,
        "leaf hashes give root",
    ),
    "nothing but the tiles": (
        "full",
        lambda f: lied(bare(f)),
        PROVED,
        "computed anew from all 300",
    ),
    "older head under another size": (
        "plain",
        lambda f: lied(without(f, "checkpoints/100") | {"checkpoints/120": f["checkpoints/100"]}),
        NOT_PROVED,
        "checkpoints/120 is the head of size 100",
    ),
    "tile left out": (
        "full",
        lambda f: lied(without(f, "tile/0/000")),
        NOT_PROVED,
        "not those of 300",
    ),
    "tile too short": (
        "full",
        lambda f: lied(f | {"tile/0/000": f["tile/0/000"][:-32]}),
        NOT_PROVED,
        "8192 bytes",
    ),
    "tile too many": (
        "full",
        lambda f: lied(f | {"tile/0/002": bytes(8192)}),
        NOT_PROVED,
        "not those of 300",
    ),
    "tile too large": (
        "full",
        lambda f: lied(f | {"tile/0/000": f["tile/0/000"] + bytes(32)}),
        NOT_PROVED,
        "at most 8192",
    ),
    "line altered": (
        "full",
        lambda f: lied(f | {LINE_FILE: f[LINE_FILE].replace(b"annotation", b"Annotation", 1)}),
        NOT_PROVED,
        "record 0 is not the proven one",
    ),
    "line left out": (
        "full",
        lambda f: lied(f | {LINE_FILE: f[LINE_FILE].partition(b"\n")[2]}),
        NOT_PROVED,
        "name says",
    ),
    "line cut off": (
        "full",
        lambda f: lied(f | {LINE_FILE: f[LINE_FILE][:-1]}),
        NOT_PROVED,
        "name says",
    ),
    "line added at the end": (
        "full",
        lambda f: lied(f | {LINE_FILE: f[LINE_FILE] + b"{}"}),
        NOT_PROVED,
        "cut off",
    ),
    "lines moved by one": (
        "full",
        lambda f: lied(
            without(f, LINE_FILE)
            | {"lines/1-299.jsonl": f[LINE_FILE].rpartition(b"\n")[0].rpartition(b"\n")[0] + b"\n"}
        ),
        NOT_PROVED,
        "record 1 is not the proven one",
    ),
    "lines beyond the log": (
        "full",
        lambda f: lied(without(f, LINE_FILE) | {"lines/1-300.jsonl": f[LINE_FILE]}),
        NOT_PROVED,
        "name says",
    ),
    "lines twice": (
        "full",
        lambda f: lied(f | {"lines/5-5.jsonl": LINES[5] + b"\n"}),
        NOT_PROVED,
        "name says",
    ),
    "line of a record that nothing proves": (
        "plain",
        lambda f: lied(f | {"lines/6-6.jsonl": LINES[6] + b"\n"}),
        NOT_PROVED,
        "not the proven one",
    ),
    "line of a proven record": (
        "plain",
        lambda f: lied(f | {"lines/7-7.jsonl": LINES[7] + b"\n"}),
        PROVED,
        "lines/ holds, byte for byte, 1 of the records",
    ),
}
