"""Legacy logs in real directories: attacks, hostile files, encryption, manifests, the table."""

import hashlib
import json
import os

import psycopg
import pytest

from tasks.clients.errors import NotFound
from tasks.domain.errors import BadInput
from tasks.domain.ledger import Code, Layout, Status
from tasks.domain.ledger.legacy_keys import LegacyKey
from tasks.domain.ledger.legacy_manifest import parse_manifest
from tasks.work.legacy import is_legacy, verify_legacy
from tasks.work.legacy_table import verify_legacy_table
from tasks.work.log_store import DirectoryLog, ObjectLog
from tests.domain.ledger.legacy_log import (
    RANDOM,
    annotation,
    busy,
    encrypted,
    event_path,
    flush_of,
    hash_of,
    one_chain,
    public_pem,
    signature_of,
    variants,
    written,
)
from tests.object_store_fixture import BUCKET

KEY = LegacyKey.parse(public_pem())
PASSWORD = b"correct horse"


def stored(directory, log, root="audit_logs"):
    for path, data in log.files.items():
        file = directory / root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return DirectoryLog(directory)


def verify(directory, log=None, **options):
    files = DirectoryLog(directory) if log is None else stored(directory, log)
    return verify_legacy(files, **({"public_key": KEY, "password": None} | options))


def codes(verdict):
    return {str(finding.code) for finding in verdict.findings} - {"UNPROVEN"}


def details(verdict):
    return " ".join(finding.detail for finding in verdict.findings)


# The attacks. Each takes a log of 12 events in flushes of 5, 5 and 2, and damages it.


def rewrite_from(log, number, key=None):
    """Change an event and hash (and sign) all later ones anew: the whole rest is rewritten."""
    previous = None
    for at, event in enumerate(log.events):
        path = log.path(at)
        if at == number:
            event["data"]["batch_id"] = "evil"
        if at > number:
            event["data"]["_previous_hash"] = previous
        if at >= number:
            event["hash"] = hash_of(event)
            event["signature"] = signature_of(event["hash"], key) if key else event["signature"]
        previous = event["hash"]
        log.files[path] = written(event)
    for at, path in enumerate(log.flushes()):
        log.files[path] = written(flush_of(log.events[at * 5 : at * 5 + 5], "session-1"))


def forged(log, before, key=None, **members):
    """A new event that names `before` as the one before it."""
    event = {
        "event_id": f"{RANDOM.getrandbits(128):032x}",
        "event_type": "annotation",
        "session_id": "session-1",
        "timestamp": 1_700_000_000.3,
        "data": {"batch_id": "evil"},
        "merkle_proof": None,
    } | members
    if before is not None:
        event["data"]["_previous_hash"] = log.events[before]["hash"]
    event["hash"] = hash_of(event)
    event["signature"] = signature_of(event["hash"], key) if key else None
    log.files[event_path(event, "session-1")] = written(event)
    return event


def move(log, number, folder="session-2"):
    path = log.path(number)
    log.files[folder + path[len("session-1") :]] = log.files.pop(path)


def rename(log, number, name):
    path = log.path(number)
    log.files[f"session-1/events/{name}.json"] = log.files.pop(path)


def swap(log, one, other):
    paths = log.path(one), log.path(other)
    log.files[paths[0]], log.files[paths[1]] = log.files[paths[1]], log.files[paths[0]]


def copied(log, number, name):
    log.files[f"session-1/events/{name}.json"] = log.files[log.path(number)]


def edit_member(log, number, **members):
    log.put(number, log.events[number] | members)


def drop_flush(log, number):
    del log.files[log.flushes()[number]]


def cut_tail(log):
    """The tail and its chain file, and the chain file before it made to fit what is left."""
    log.drop(8, 9, 10, 11)
    drop_flush(log, 2)
    path = log.flushes()[1]
    log.files[path] = written(flush_of(log.events[5:8], "session-1"))


def circle(log):
    """Three events that name each other; their hashes can't be right."""
    for at in range(3):
        event = forged(log, None)
        event["hash"] = f"{at:02x}" * 32
        event["data"]["_previous_hash"] = f"{(at + 1) % 3:02x}" * 32
        log.files[event_path(event, "session-1")] = written(event)


ATTACKS = {
    "an event edited": (lambda log: log.edit(6), {"MODIFIED"}),
    "the first event edited": (lambda log: log.edit(0), {"MODIFIED"}),
    "a timestamp edited": (lambda log: edit_member(log, 6, timestamp=1.5), {"MODIFIED"}),
    "an event type edited": (lambda log: edit_member(log, 6, event_type="error"), {"MODIFIED"}),
    "a session edited": (lambda log: edit_member(log, 6, session_id="s"), {"MODIFIED"}),
    "an event edited and hashed anew": (
        lambda log: log.edit(6, rehash=True),
        {"BAD_SIGNATURE", "DELETED", "SEGMENT_DIGEST"},
    ),
    "an event edited, signed by a stranger": (
        lambda log: log.edit(6, rehash=True, sign="stranger"),
        {"BAD_SIGNATURE", "DELETED", "SEGMENT_DIGEST"},
    ),
    "the last event edited, its signature stripped": (
        lambda log: log.edit(11, rehash=True, strip=True),
        {"BAD_SIGNATURE", "SEGMENT_DIGEST"},
    ),
    "all from an event on hashed anew": (lambda log: rewrite_from(log, 7), {"BAD_SIGNATURE"}),
    "all from an event on signed by a stranger": (
        lambda log: rewrite_from(log, 7, "stranger"),
        {"BAD_SIGNATURE"},
    ),
    "a signature stripped": (
        lambda log: edit_member(log, 6, signature=None), {"BAD_SIGNATURE"},
    ),
    "a signature of another event": (
        lambda log: edit_member(log, 6, signature=log.events[7]["signature"]), {"BAD_SIGNATURE"},
    ),
    "a signature that is no hex": (
        lambda log: edit_member(log, 6, signature="sure"), {"BAD_SIGNATURE"},
    ),
    "an event deleted": (lambda log: log.drop(6), {"DELETED", "SEGMENT_DIGEST"}),
    "two neighbours deleted": (lambda log: log.drop(6, 7), {"DELETED", "SEGMENT_DIGEST"}),
    "the head deleted": (lambda log: log.drop(0), {"DELETED", "SEGMENT_DIGEST"}),
    "the first flush deleted, with its chain file": (
        lambda log: (log.drop(0, 1, 2, 3, 4), drop_flush(log, 0)), {"DELETED"},
    ),
    "a whole flush deleted from the middle": (lambda log: log.drop(5, 6, 7, 8, 9), {"DELETED"}),
    "the tail cut off": (lambda log: log.drop(11), {"TRUNCATED"}),
    "the last flush cut off": (lambda log: log.drop(10, 11), {"TRUNCATED"}),
    "an event of one's own between two": (
        lambda log: forged(log, 6), {"BAD_SIGNATURE", "INSERTED"},
    ),
    "an event of one's own as a rival of the last": (
        lambda log: forged(log, 10), {"BAD_SIGNATURE", "INSERTED"},
    ),
    "an event of one's own at the end": (lambda log: forged(log, 11), {"BAD_SIGNATURE"}),
    "an event of one's own as a new chain": (lambda log: forged(log, None), {"BAD_SIGNATURE"}),
    "a signed event from elsewhere": (
        lambda log: forged(log, 6, "log"), {"INSERTED"},
    ),
    "an event that names an unknown one": (
        lambda log: forged(log, None, "log", data={"_previous_hash": "ab" * 32}), {"DELETED"},
    ),
    "an event stored twice": (lambda log: copied(log, 6, "copy"), {"INSERTED", "SEQ_MISMATCH"}),
    "an event id used twice": (
        lambda log: forged(log, 11, "log", event_id=log.events[6]["event_id"])
        and log.files.update({"session-1/events/x.json": written(log.events[6])}),
        {"INSERTED", "SEQ_MISMATCH"},
    ),
    "an event moved to another session": (lambda log: move(log, 6), {"SEQ_MISMATCH"}),
    "two events' files swapped": (lambda log: swap(log, 6, 7), {"SEQ_MISMATCH"}),
    "a file renamed": (lambda log: rename(log, 6, "other"), {"SEQ_MISMATCH"}),
    "a circle": (circle, {"BAD_SIGNATURE", "CHAIN_BREAK", "MODIFIED"}),
    "a chain file missing": (lambda log: drop_flush(log, 1), {"SOURCE_MISSING"}),
    "a chain file altered": (
        lambda log: log.edit_flush(1, chain_hash="0" * 64), {"SEGMENT_DIGEST"},
    ),
    "a Merkle root altered": (
        lambda log: log.edit_flush(1, merkle_root="0" * 64), {"SEGMENT_DIGEST"},
    ),
    "a count altered": (lambda log: log.edit_flush(1, event_count=6), {"SEGMENT_DIGEST"}),
    "a chain file doubled": (
        lambda log: log.files.update(
            {"session-1/chains/chain_1.json": log.files[log.flushes()[1]]}
        ),
        {"INSERTED"},
    ),
    "a chain file torn": (
        lambda log: log.files.update({log.flushes()[2]: b'{"session_id":'}), {"SEGMENT_TORN"},
    ),
    "an event torn": (
        lambda log: log.files.update({log.path(11): log.files[log.path(11)][:-9]}),
        {"TRUNCATED", "UNPARSEABLE"},
    ),
    "a member added outside the hash": (
        lambda log: edit_member(log, 11, comment="evil"), {"TRUNCATED", "UNPARSEABLE"},
    ),
    "a second data before the first": (
        lambda log: log.files.update(
            {log.path(11): b'{"data":{},' + log.files[log.path(11)][1:]}
        ),
        {"TRUNCATED", "UNPARSEABLE"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_each_attack_gives_its_findings(name, tmp_path):
    attack, expected = ATTACKS[name]
    log = one_chain()
    head = ",".join(log.heads())
    manifest = log.manifest()
    clean = verify(tmp_path / "clean", log, head=head)
    assert (clean.status, clean.findings) == (Status.VERIFIED, ())
    attack(log)
    verdict = verify(tmp_path / "log", log)
    assert codes(verdict) == expected, details(verdict)
    assert verdict.status is Status.TAMPERED
    assert verify(tmp_path / "log", manifest=manifest).status is Status.TAMPERED


def test_the_matrix_is_a_matrix():
    assert len(ATTACKS) >= 40


def test_a_tail_cut_with_all_its_traces_shows_only_from_outside(tmp_path):
    log = one_chain()
    head, manifest = log.heads()[0], log.manifest()
    cut_tail(log)
    verdict = verify(tmp_path, log)
    assert (verdict.status, codes(verdict)) == (Status.UNVERIFIABLE, set())
    assert "8 of 8 events are intact, 8 of them signed" in verdict.reason
    assert "cut off would not show" in verdict.reason
    assert codes(verify(tmp_path, head=head)) == {"TRUNCATED"}
    assert codes(verify(tmp_path, manifest=manifest)) == {"DELETED", "MODIFIED"}


def test_a_whole_chain_taken_away_shows_only_from_outside(tmp_path):
    log = busy()
    heads, manifest = log.heads(), log.manifest()
    log.files = {path: data for path, data in log.files.items() if "session-3" not in path}
    assert verify(tmp_path, log).status is Status.UNVERIFIABLE
    assert codes(verify(tmp_path, head=",".join(heads))) == {"TRUNCATED"}
    verdict = verify(tmp_path, manifest=manifest)
    assert codes(verdict) == {"DELETED"}
    assert verdict.status is Status.TAMPERED


@pytest.mark.parametrize("log", [one_chain(), busy(), one_chain(1), one_chain(60, 100)])
def test_a_log_as_it_was_written_is_verified_when_its_end_is_known(log, tmp_path):
    for options in ({"manifest": log.manifest()}, {"head": ",".join(log.heads())}):
        verdict = verify(tmp_path, log, **options)
        assert (verdict.status, verdict.findings) == (Status.VERIFIED, ())
        assert verdict.records == verdict.signed == len(log.events)
        assert (verdict.layout, verdict.source) == (Layout.LEGACY, "directory")
        assert verdict.bytes == sum(map(len, log.files.values()))


def test_without_a_key_nothing_is_verified_and_the_reason_says_why(tmp_path):
    log = one_chain()
    verdict = verify(tmp_path, log, public_key=None, manifest=log.manifest())
    assert verdict.status is Status.UNVERIFIABLE
    assert "anybody could have computed all hashes anew" in verdict.reason
    assert (verdict.records, verdict.signed) == (12, 0)
    rewrite_from(log, 0)
    assert verify(tmp_path / "evil", log, public_key=None).status is Status.UNVERIFIABLE


def test_another_key_is_told_from_tampering(tmp_path):
    verdict = verify(tmp_path, one_chain(), public_key=LegacyKey.parse(public_pem("stranger")))
    assert (verdict.status, codes(verdict)) == (Status.UNVERIFIABLE, {"BAD_SIGNATURE"})
    assert "another key, or all events were replaced" in verdict.reason
    assert [finding.count for finding in verdict.findings if finding.code == "BAD_SIGNATURE"] == [
        12
    ]


def test_an_unsigned_log_is_not_verified(tmp_path):
    log = one_chain(key=None)
    assert verify(tmp_path, log, manifest=log.manifest()).status is Status.UNVERIFIABLE


def test_one_head_of_two_chains_leaves_the_other_unproven(tmp_path):
    log = busy()
    verdict = verify(tmp_path, log, head=log.events[9]["hash"])
    assert verdict.status is Status.UNVERIFIABLE
    assert [(each.code, each.first, each.count) for each in verdict.findings] == [
        (Code.UNPROVEN, 0, 5)
    ]


def test_events_after_the_known_end_are_unproven(tmp_path):
    log = one_chain()
    verdict = verify(tmp_path, log, head=log.events[8]["hash"])
    assert verdict.status is Status.UNVERIFIABLE
    assert [(each.code, each.first, each.count) for each in verdict.findings] == [
        (Code.UNPROVEN, 9, 3)
    ]


def test_events_saved_again_by_other_tools_are_intact(tmp_path):
    log = one_chain()
    for number, text in enumerate(variants(log.events[3]), start=3):
        log.files[log.path(number)] = next(
            each for at, each in enumerate(variants(log.events[number])) if at == number - 3
        )
        assert text
    verdict = verify(tmp_path, log, head=log.heads()[0])
    assert verdict.status is Status.VERIFIED
    assert "3 were not in the writer's own form" in verdict.reason


def test_the_log_is_found_with_and_without_audit_logs(tmp_path):
    log = one_chain()
    for root in ("", "audit_logs"):
        files = stored(tmp_path / f"in-{root}", log, root)
        assert is_legacy(files)
        verdict = verify_legacy(files, public_key=KEY, password=None, manifest=log.manifest())
        assert verdict.status is Status.VERIFIED


def test_other_directories_are_no_legacy_log(tmp_path):
    for number, path in enumerate(["checkpoints/0", "seg/0-1.jsonl.zst", "readme", "a/events/b"]):
        file = tmp_path / str(number) / path
        file.parent.mkdir(parents=True)
        file.write_bytes(b"")
        assert not is_legacy(DirectoryLog(tmp_path / str(number)))
    with pytest.raises(BadInput, match="no such file"):
        verify(tmp_path / "2")


def test_a_manifest_of_sha256sum_confirms_the_log(tmp_path):
    log = one_chain()
    lines = [f"{digest}  ./audit_logs/{path}\n" for path, digest in log.manifest().items()]
    manifest = parse_manifest("".join(lines).encode())
    assert verify(tmp_path, log, manifest=manifest).status is Status.VERIFIED
    log.files["session-1/chains/chain_1.json"] = log.files.pop(log.flushes()[0])
    verdict = verify(tmp_path / "renamed", log, manifest=manifest)
    assert codes(verdict) == {"DELETED", "INSERTED"}


def test_progress_is_told_up_to_the_last_file(tmp_path):
    told = []
    log = one_chain(300, 100)
    verify(tmp_path, log, progress=lambda done, total: told.append((done, total)), workers=3)
    assert told == [(256, 303), (303, 303)]


# Hostile files.


def test_hostile_event_files_are_named_and_the_others_judged(tmp_path):
    log = one_chain()
    hostile = {
        "truncated": log.files[log.path(2)][:100],
        "not-utf8": b"\xff\xfe" * 50,
        "duplicate": b'{"data":{"a":1,"a":2},' + written(log.events[3])[9:],
        "nan": written(log.events[4]).replace(b'"batch_size":2', b'"batch_size":NaN'),
        "deep": b'{"data":' + b"[" * 100_000,
        "empty": b"",
        "binary": bytes(range(256)),
    }
    for name, data in hostile.items():
        log.files[f"session-1/events/{name}.json"] = data
    verdict = verify(tmp_path, log)
    assert codes(verdict) == {"UNPARSEABLE"}
    for name in hostile:
        assert f"events/{name}.json: " in details(verdict)
    assert verdict.signed == 12


def test_a_gigabyte_is_refused_without_being_read(tmp_path):
    log = one_chain()
    stored(tmp_path, log)
    for name in ("events/big.json", "chains/chain_9.json"):
        with (tmp_path / "audit_logs/session-1" / name).open("wb") as file:
            file.truncate(1024**3)
    verdict = verify(tmp_path)
    assert codes(verdict) == {"SEGMENT_TORN", "UNPARSEABLE"}
    assert verdict.bytes == sum(map(len, log.files.values()))


def test_names_that_no_logger_writes_are_listed_and_not_read(tmp_path):
    log = one_chain()
    stored(tmp_path, log)
    folder = tmp_path / "audit_logs/session-1"
    for name in ("events/.hidden.json", "events/a b.json", "events/\u202e.json", "notes.txt"):
        (folder / name).write_bytes(b"evil")
    verdict = verify(tmp_path, head=log.heads()[0])
    assert (verdict.status, codes(verdict)) == (Status.VERIFIED, {"STRAY"})
    assert verdict.findings[0].count == 4
    assert "\u202e" not in details(verdict)


@pytest.mark.parametrize("kind", ["link", "folder link", "pipe"])
def test_links_and_pipes_are_refused(kind, tmp_path):
    stored(tmp_path, one_chain())
    events = tmp_path / "audit_logs/session-1/events"
    if kind == "link":
        (events / "link.json").symlink_to("/etc/passwd")
    elif kind == "folder link":
        (tmp_path / "audit_logs/session-9").symlink_to("/etc")
    else:
        os.mkfifo(events / "pipe.json")
    with pytest.raises(BadInput, match="without links"):
        verify(tmp_path)


class Odd(DirectoryLog):
    """A bucket with keys that no file system would list, and files that vanish."""

    def paths(self, prefix):
        return [*super().paths(prefix), "../events/up.json", "audit_logs/s/../../etc/events/x.json"]


class Vanishing(DirectoryLog):
    """Files that are listed and gone when they are read."""

    gone = ""

    def read(self, path, limit=2**40):
        (data,) = self.read_many([path], limit)
        return data

    def read_many(self, paths, limit=2**40):
        for path in paths:
            if path == self.gone:
                raise NotFound(f"{path} does not exist")
            yield super().read(path, limit)


def test_keys_that_lead_out_of_the_log_are_not_read(tmp_path):
    log = one_chain()
    stored(tmp_path, log)
    verdict = verify_legacy(Odd(tmp_path), public_key=KEY, password=None, head=log.heads()[0])
    assert (verdict.status, codes(verdict)) == (Status.VERIFIED, {"STRAY"})


def test_a_file_that_vanishes_meanwhile_is_missing(tmp_path):
    log = one_chain()
    stored(tmp_path, log)
    files = Vanishing(tmp_path)
    files.gone = f"audit_logs/{log.path(3)}"
    verdict = verify_legacy(files, public_key=KEY, password=None)
    assert codes(verdict) == {"DELETED", "SEGMENT_DIGEST"}
    assert "vanished" in details(verdict)


def test_hostile_ids_do_not_reach_the_report_unescaped(tmp_path):
    log = one_chain()
    event = forged(log, 11, event_id="\u202e\x1b[31m\n<b>")
    del log.files[event_path(event, "session-1")]
    log.files["session-1/events/x.json"] = written(event)
    text = details(verify(tmp_path, log))
    assert "\\u202e" in text
    assert text.isprintable()


def test_findings_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.domain.ledger.legacy_audit.MAX_FINDINGS", 5)
    log = one_chain()
    for number in range(0, 12, 2):
        log.edit(number)
    verdict = verify(tmp_path, log)
    assert len(verdict.findings) <= 5 + len(Code)
    assert sum(each.count for each in verdict.findings if each.code is Code.MODIFIED) == 6


@pytest.mark.components
def test_a_log_in_a_bucket_is_verified_like_one_in_a_directory(object_store):
    log = busy()
    prefix = f"legacy-{RANDOM.getrandbits(64):x}"
    files = ObjectLog(object_store, BUCKET, prefix)
    for path, data in log.files.items():
        files.write(f"audit_logs/{path}", data)
    assert is_legacy(files)
    verdict = verify_legacy(files, public_key=KEY, password=None, manifest=log.manifest())
    assert (verdict.status, verdict.source, verdict.signed) == (Status.VERIFIED, "store", 15)
    files.write("audit_logs/session-1/events/big.json", b"x" * 1_100_000)
    assert codes(verify_legacy(files, public_key=KEY, password=None)) == {"UNPARSEABLE"}


# Encryption. Deriving a key takes some 30 ms, so these logs are short.


@pytest.fixture(scope="module")
def sealed():
    log = one_chain(3)
    plain = dict(log.files)
    log.files = {path: encrypted(data, PASSWORD) for path, data in plain.items()}
    return log


def test_an_encrypted_log_is_verified_with_its_password(sealed, tmp_path):
    log = sealed.copy()
    verdict = verify(tmp_path, log, password=PASSWORD, manifest=log.manifest(), workers=2)
    assert (verdict.status, verdict.signed, verdict.findings) == (Status.VERIFIED, 3, ())


def test_an_encrypted_file_may_begin_like_a_plain_one(sealed, tmp_path):
    log = sealed.copy()
    salt = b'{"data":{"' + bytes(6)
    log.files[log.path(1)] = encrypted(written(log.events[1]), PASSWORD, salt)
    verdict = verify(tmp_path, log, password=PASSWORD, manifest=log.manifest())
    assert (verdict.status, verdict.findings) == (Status.VERIFIED, ())


def test_an_encrypted_log_without_a_password_says_what_to_give(sealed, tmp_path):
    with pytest.raises(BadInput, match="--password-file"):
        verify(tmp_path, sealed.copy())


def test_a_wrong_password_is_not_tampering(sealed, tmp_path):
    verdict = verify(tmp_path, sealed.copy(), password=b"wrong")
    assert verdict.status is Status.UNVERIFIABLE
    assert "another password" in verdict.reason
    assert codes(verdict) == set()


def test_a_password_for_a_plain_log_does_no_harm(tmp_path):
    log = one_chain(3)
    verdict = verify(tmp_path, log, password=PASSWORD, manifest=log.manifest())
    assert verdict.status is Status.VERIFIED


@pytest.mark.parametrize("place", [20, 31, 40, -1])
def test_a_flipped_bit_of_an_encrypted_event_is_damage(place, sealed, tmp_path):
    log = sealed.copy()
    data = bytearray(log.files[log.path(1)])
    data[place] ^= 1  # 20 and 31 are of the IV: they alter one mark of the text and no other
    log.files[log.path(1)] = bytes(data)
    verdict = verify(tmp_path, log, password=PASSWORD)
    assert verdict.status is Status.TAMPERED
    assert codes(verdict) & {"UNPARSEABLE", "MODIFIED"}
    assert ("MODIFIED" in codes(verdict)) == (place == 31)


# The table.

TABLE = """
CREATE TABLE audit_events (
    id text, session_id text, event_type text, timestamp double precision, event_data jsonb,
    integrity_hash text, previous_hash text, merkle_root text, created_at timestamptz DEFAULT now()
)
"""


def fill(database, events):
    with psycopg.connect(database.owner) as connection:
        connection.execute(TABLE)
        for event in events:
            connection.execute(
                "INSERT INTO audit_events (id, session_id, event_type, timestamp, event_data,"
                " integrity_hash, previous_hash) VALUES (%s, %s, %s, %s, %s, %s, %s)",
                (
                    event["event_id"],
                    event["session_id"],
                    event["event_type"],
                    event["timestamp"],
                    json.dumps(event["data"]),
                    event["hash"],
                    event["data"].get("_previous_hash"),
                ),
            )


def table_codes(database, **options):
    verdict = verify_legacy_table(database.owner, **options)
    return verdict, {(str(each.code), each.first, each.count) for each in verdict.findings}


@pytest.mark.components
def test_a_table_is_judged_by_links_and_by_what_can_be_serialised_again(audit_database):
    log = busy()
    fill(audit_database, RANDOM.sample(log.events, len(log.events)))
    verdict, found = table_codes(audit_database, head=",".join(log.heads()))
    assert (verdict.status, verdict.records) == (Status.UNVERIFIABLE, 15)
    assert found == {("UNPROVEN", None, 15)}
    assert "the table keeps no signatures" in verdict.reason


@pytest.mark.components
def test_a_number_that_jsonb_spells_otherwise_is_unproven_not_modified(audit_database):
    log = one_chain(3)
    event = forged(log, 2, data={"big": 1e300})
    fill(audit_database, [*log.events, event])
    verdict, found = table_codes(audit_database)
    assert verdict.status is Status.UNVERIFIABLE
    assert ("UNPROVEN", None, 1) in found


@pytest.mark.components
@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("DELETE FROM audit_events WHERE id = %s", "DELETED"),
        ("INSERT INTO audit_events SELECT * FROM audit_events WHERE id = %s", "INSERTED"),
        ("UPDATE audit_events SET integrity_hash = repeat('ab', 32) WHERE id = %s", "DELETED"),
        ("UPDATE audit_events SET integrity_hash = NULL WHERE id = %s", "UNPARSEABLE"),
        ("UPDATE audit_events SET event_data = NULL WHERE id = %s", "UNPARSEABLE"),
        ("UPDATE audit_events SET event_data = '[]' WHERE id = %s", "UNPARSEABLE"),
        ("UPDATE audit_events SET timestamp = 'NaN' WHERE id = %s", "UNPARSEABLE"),
        ("UPDATE audit_events SET previous_hash = repeat('ab', 32) WHERE id = %s", "CHAIN_BREAK"),
    ],
)
def test_attacks_on_the_table_that_break_its_links_are_found(statement, code, audit_database):
    log = one_chain()
    fill(audit_database, log.events)
    audit_database.run(statement, log.events[6]["event_id"])
    verdict, found = table_codes(audit_database)
    assert verdict.status is Status.TAMPERED
    assert code in {each for each, _, _ in found}


@pytest.mark.components
def test_a_database_without_the_table_is_no_verdict(audit_database):
    with pytest.raises(NotFound, match="audit_events"):
        verify_legacy_table(audit_database.owner)


def test_a_hash_in_the_reports_is_of_the_event(tmp_path):
    log = one_chain()
    changed = log.edit(6)
    found = next(each for each in verify(tmp_path, log).findings if each.code is Code.MODIFIED)
    assert (found.first, found.expected) == (6, log.events[6]["hash"])
    members = {key: changed[key] for key in ("event_id", "event_type", "session_id")}
    hashed = members | {"timestamp": changed["timestamp"], "data": changed["data"]}
    assert found.found == hashlib.sha256(written(hashed)).hexdigest()
    assert annotation(6)["batch_id"] != changed["data"]["batch_id"]
