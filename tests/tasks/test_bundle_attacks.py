"""Attacks on bundles: by whoever carries one, and by whoever makes one, manifest and all."""

import random

import pytest

from tasks.domain.ledger import Checkpoint, MerkleTree, NoteSigner, sign_checkpoint
from tasks.work import bundle_verifier as verifier
from tasks.work.bundle_verifier import (
    COULD_NOT_TELL,
    NOT_PROVED,
    PROVED,
    PROVED_BY_ITS_OWN_KEYS,
)
from tests.domain.ledger.sample_log import ORIGIN, SIGNER, STRANGER, chained, note_of, plain_leaf
from tests.tasks.bundle_attacks import ATTACKS, EVIL, flip, outcome, samples, with_head
from tests.tasks.bundle_fixture import LINES, TRUST, in_folder, in_zip, lied, policy_of


@pytest.fixture
def bundles():
    return samples()


@pytest.mark.parametrize("attack", ATTACKS)
def test_each_attack_has_its_outcome_in_a_folder_and_in_a_zip(bundles, tmp_path, attack):
    which, change, code, because = ATTACKS[attack]
    files = change(bundles[which])
    reports = [
        verifier.verify_bundle(str(place), policy_of())
        for place in (in_folder(tmp_path / "b", files), in_zip(tmp_path / "b.zip", files))
    ]
    for report in reports:
        said = " ".join(verifier.words(report).split())
        assert report.code == code, said
        assert because in said
        assert said.startswith("PROVED") == (code == PROVED)
    assert verifier.as_json(reports[0]) == verifier.as_json(reports[1])


def test_a_forgers_own_keys_prove_nothing_and_the_words_say_so(bundles, tmp_path):
    report = verifier.verify_bundle(str(in_folder(tmp_path, bundles["forged"])))
    said = verifier.words(report)
    assert report.code == PROVED_BY_ITS_OWN_KEYS
    assert STRANGER.verifier.encoded in said
    assert "proves nothing against its maker" in " ".join(said.split())


@pytest.mark.parametrize("which", ["plain", "full"])
def test_no_flipped_bit_of_any_file_is_ever_proved(bundles, tmp_path, which):
    files = bundles[which]
    folder = in_folder(tmp_path, files)
    chance = random.Random(which)
    for name, data in files.items():
        tried = chance.sample(range(len(data)), min(len(data), 12))
        for at in {0, len(data) - 1, *tried}:
            bit = 1 << chance.randrange(8)
            (folder / name).write_bytes(data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])
            assert outcome(folder)[0] in (NOT_PROVED, COULD_NOT_TELL), (name, at, bit)
        (folder / name).write_bytes(data)
    assert outcome(folder)[0] == PROVED


def test_no_flipped_bit_is_proved_even_when_the_manifest_is_written_anew(bundles, tmp_path):
    """What is left is what nobody signed: words for people, and the note that says who did."""
    statements = {"README.txt", "verify.py", "verdict.json", "trust.toml"}
    files = bundles["plain"]
    chance = random.Random(3)
    for name in sorted(set(files) - statements - {"MANIFEST"}):
        for at in chance.sample(range(len(files[name])), 6):
            changed = files | {name: flip(files[name], at)}
            folder = in_folder(tmp_path, lied(changed))
            assert outcome(folder)[0] in (NOT_PROVED, COULD_NOT_TELL), (name, at)
        (folder / name).write_bytes(files[name])


def anchored(lines):
    """The auditor's policy, with a head of these lines that they kept."""
    policy = policy_of()
    kept = note_of(lines)
    return verifier.Policy(policy.origin, policy.log_keys, policy.witnesses, policy.quorum, kept)


ANCHORS = {
    "one of the older heads": ("plain", LINES[:100], PROVED, "continues the head of size 100"),
    "the newest head": ("plain", LINES, PROVED, "continues the head of size 300"),
    "an older head of a fork": ("plain", EVIL[:100], NOT_PROVED, "another history"),
    "the newest size of a fork": ("plain", EVIL, NOT_PROVED, "another history"),
    "a newer head": ("plain", chained(400, LINES), NOT_PROVED, "newer heads are kept from you"),
    "a size without proof": ("plain", LINES[:77], COULD_NOT_TELL, "ask for a bundle made with"),
    "a size without proof, all leaves": (
        "full",
        LINES[:77],
        PROVED,
        "continues the head of size 77",
    ),
    "a fork that only the leaves show": ("full", EVIL[:77], NOT_PROVED, "another history"),
}


@pytest.mark.parametrize("anchor", ANCHORS)
def test_a_head_that_the_auditor_kept_must_be_continued(bundles, tmp_path, anchor):
    which, lines, code, because = ANCHORS[anchor]
    report = verifier.verify_bundle(str(in_folder(tmp_path, bundles[which])), anchored(lines))
    assert report.code == code
    assert because in " ".join(verifier.words(report).split())


def test_hostile_text_reaches_the_terminal_harmless(bundles, tmp_path):
    files = bundles["plain"] | {"evil\x1b[2J\u202e.txt": b"x"}
    said = verifier.words(verifier.verify_bundle(str(in_folder(tmp_path, files)), policy_of()))
    assert said.isascii()
    assert "\x1b" not in said


def test_two_thousand_problems_are_told_on_a_page(bundles, tmp_path):
    files = bundles["plain"] | {f"records/{number}.exe": b"" for number in range(2000)}
    report = verifier.verify_bundle(str(in_folder(tmp_path, files)), policy_of())
    assert len(report.problems) == 2000
    assert len(verifier.words(report).splitlines()) < 60


def test_the_retired_key_of_a_log_signs_no_newer_head(bundles, tmp_path):
    key = verifier.parse_key(SIGNER.verifier.encoded, 0, 299)
    policy = verifier.Policy(ORIGIN, (key,))
    report = verifier.verify_bundle(str(in_folder(tmp_path, bundles["plain"])), policy)
    assert report.code == NOT_PROVED
    assert "not valid for size 300" in verifier.words(report)


def test_a_true_tree_under_a_true_key_of_the_same_name_is_not_the_log(bundles, tmp_path):
    other = NoteSigner.generate(ORIGIN)
    root = MerkleTree([plain_leaf(line) for line in LINES]).root()
    note = sign_checkpoint(Checkpoint(ORIGIN, 300, root), other)
    files = with_head(bundles["plain"], note)
    assert outcome(in_folder(tmp_path, files))[0] == NOT_PROVED


def test_the_policy_of_the_bundle_is_the_makers(bundles):
    assert verifier.read_policy(bundles["plain"]["trust.toml"].decode()) == policy_of(TRUST)
