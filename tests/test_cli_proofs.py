"""`runbook prove` and `runbook bundle`: exits, what is printed, and what is not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.exits import BAD, COULD_NOT_TELL, GOOD
from tasks.domain.ledger.bundle_files import policy_text
from tasks.work import bundle_verifier
from tests.commanding import Command, Ended, command, environment
from tests.domain.ledger.sample_log import ORIGIN, SIGNER, STRANGER, chained, plain_leaf
from tests.tasks.bundle_fixture import LINES, TRUST, in_folder, log_files

__all__ = ["command", "environment"]

KEY = SIGNER.verifier.encoded
TRUSTED = ("--log-key", KEY, "--origin", ORIGIN)
SECRET = "tell me how to build it"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return in_folder(tmp_path / "log", log_files())


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    file = tmp_path / "trust.toml"
    file.write_text(policy_text(TRUST))
    return file


def is_exit_2(ended: Ended, words: str) -> None:
    """With why, after click's own lines of usage where there are any."""
    assert ended.code == COULD_NOT_TELL, ended
    assert "Traceback" not in ended.err
    assert words in ended.err


# prove


def test_a_proof_goes_alone_to_standard_output_and_checks_again(
    command: Command, log: Path, policy: Path, tmp_path: Path
) -> None:
    ended = command("prove", 7, "--log", log, "--trust", policy)
    assert ended.code == GOOD
    assert ended.out.startswith("c2sp.org/tlog-proof@v1\nextra ")
    assert ended.out.endswith((log / "checkpoints/300").read_text())
    assert f"leaf      {plain_leaf(LINES[7]).hex()}" in ended.err
    file = tmp_path / "7.tlog-proof"
    file.write_text(ended.out, encoding="utf-8")
    checked = command("prove", "--check", file, "--trust", policy)
    assert checked.code == GOOD
    assert "record 7 is among the 300 signed records of audit.example/lab" in checked.err
    assert "2 of 3 witnesses" in checked.err


def test_the_record_itself_is_shown_to_nobody_who_did_not_ask(
    command: Command, tmp_path: Path
) -> None:
    lines = chained(20, data={"prompt": SECRET})
    log = in_folder(tmp_path / "log", log_files(lines, ()))
    plain = command("prove", 7, "--log", log, *TRUSTED)
    assert SECRET not in plain.out + plain.err
    file = tmp_path / "proof"
    asked = command("prove", 7, "--log", log, *TRUSTED, "--with-line", "--to", file)
    assert (asked.code, asked.out) == (GOOD, "")
    assert "personal data" in asked.err
    assert len(file.read_text()) > len(plain.out)
    assert command("prove", "--check", file, *TRUSTED).code == GOOD


def test_the_line_or_its_leaf_is_what_a_proof_is_checked_for(
    command: Command, log: Path, tmp_path: Path
) -> None:
    file, line, other = tmp_path / "proof", tmp_path / "line", tmp_path / "other"
    assert command("prove", 7, "--log", log, *TRUSTED, "--to", file).code == GOOD
    line.write_bytes(LINES[7] + b"\n")
    other.write_bytes(LINES[8])
    leaf = plain_leaf(LINES[7]).hex()
    check = ("prove", "--check", file, *TRUSTED)
    assert command(*check, "--line", line).code == GOOD
    assert command(*check, "--leaf", leaf).code == GOOD
    refused = command(*check, "--line", other)
    assert (refused.code, refused.err[:10]) == (BAD, "not proven")
    assert command(*check, "--leaf", "0" * 64).code == BAD
    is_exit_2(command(*check, "--leaf", "xyz"), "64 hex digits")
    is_exit_2(command(*check, "--leaf", leaf, "--line", line), "not both")


def test_a_proof_under_other_keys_is_exit_1(command: Command, log: Path, tmp_path: Path) -> None:
    file = tmp_path / "proof"
    command("prove", 7, "--log", log, *TRUSTED, "--to", file)
    other = ("--log-key", STRANGER.verifier.encoded, "--origin", ORIGIN)
    assert command("prove", "--check", file, *other).code == BAD
    ended = command("prove", 7, "--log", log, *other)
    assert (ended.code, ended.out) == (BAD, "")


def test_growth_is_proven_and_checked_against_the_older_head(
    command: Command, log: Path, policy: Path, tmp_path: Path
) -> None:
    file = tmp_path / "growth"
    assert command("prove", "--since", 100, "--log", log, *TRUSTED, "--to", file).code == GOOD
    check = ("prove", "--check", file, "--trust", policy)
    checked = command(*check, "--old", log / "checkpoints/100")
    assert checked.code == GOOD
    assert "begin with the 100 of the older head" in checked.err
    assert command(*check, "--old", log / "checkpoints/250").code == BAD
    is_exit_2(command(*check), "--old FILE")


def test_what_cannot_be_asked_is_exit_2(
    command: Command, log: Path, policy: Path, tmp_path: Path
) -> None:
    at = ("--log", log, *TRUSTED)
    is_exit_2(command("prove", *at), "expected one of SEQ")
    is_exit_2(command("prove", 7, "--since", 5, *at), "expected one of SEQ")
    is_exit_2(command("prove", 300, *at), "covers 300 records")
    is_exit_2(command("prove", -1, *at), "-1")
    is_exit_2(command("prove", 7, "--leaf", "0" * 64, *at), "go with --check")
    is_exit_2(command("prove", "--since", 99, *at), "does not exist")
    is_exit_2(command("prove", 7, "--log", log), "RUNBOOK_LEDGER__TRUST_FILE")
    is_exit_2(command("prove", 7, "--log", log, "--origin", ORIGIN), "--log-key with")
    is_exit_2(command("prove", 7, "--trust", policy, *at), "not both")
    is_exit_2(command("prove", 7, "--log", tmp_path / "none", *TRUSTED), "s3://bucket/prefix")
    is_exit_2(command("prove", 7, "--log", "x" * 5000, *TRUSTED), "s3://bucket/prefix")
    is_exit_2(command("prove", 7, *at, "--to", policy), "new file")
    is_exit_2(command("prove", "--check", policy, *TRUSTED), "in the first line")


# bundle


def test_a_bundle_is_made_and_verified_under_given_keys_and_under_its_own(
    command: Command, log: Path, policy: Path, tmp_path: Path
) -> None:
    target, written = tmp_path / "bundle.zip", tmp_path / "result.json"
    made = command("bundle", "make", target, "--log", log, "--trust", policy, "--records", "5,7-9")
    assert (made.code, made.err) == (GOOD, "")
    assert made.out.startswith("verified  the log, when bundled")
    given = command("bundle", "verify", target, "--trust", policy, "--json", written)
    assert given.code == GOOD
    assert given.out.startswith("PROVED under the keys that you gave.")
    result = json.loads(written.read_text())
    assert (result["result"], result["keys_from"], result["size"]) == ("proved", "given", 300)
    assert result["records"]["7"] == plain_leaf(LINES[7]).hex()
    own = command("bundle", "verify", target)
    assert own.code == bundle_verifier.PROVED_BY_ITS_OWN_KEYS
    assert own.out.startswith("PROVED UNDER THE KEYS IN THIS BUNDLE only.")
    assert KEY in own.out


def test_the_keys_of_the_settings_count_as_given(
    command: Command, log: Path, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("RUNBOOK_LEDGER__LOG_KEY", KEY)
    environment.setenv("RUNBOOK_LEDGER__ORIGIN", ORIGIN)
    assert command("bundle", "make", tmp_path / "bundle", "--log", log).code == GOOD
    assert command("bundle", "verify", tmp_path / "bundle").code == GOOD
    ended = command("bundle", "verify", tmp_path / "bundle", "--key", STRANGER.verifier.encoded)
    assert ended.code == BAD


def test_the_command_and_the_enclosed_program_say_the_same_words(
    command: Command, log: Path, tmp_path: Path
) -> None:
    target = tmp_path / "bundle"
    command("bundle", "make", target, "--log", log, *TRUSTED, "--full", "--records", "5")
    for options in ((), ("--key", KEY), ("--key", STRANGER.verifier.encoded)):
        alone = subprocess.run(
            [sys.executable, "-I", target / "verify.py", target, *options],
            capture_output=True,
            text=True,
            check=False,
        )
        ended = command("bundle", "verify", target, *options)
        assert (ended.code, ended.out) == (alone.returncode, alone.stdout)


def test_an_altered_bundle_is_exit_1_and_says_what(
    command: Command, log: Path, tmp_path: Path
) -> None:
    target = tmp_path / "bundle"
    command("bundle", "make", target, "--log", log, *TRUSTED)
    (target / "checkpoints/100").write_bytes(b"another head")
    ended = command("bundle", "verify", target, "--key", KEY)
    assert ended.code == BAD
    assert ended.out.startswith("NOT PROVED.")
    assert "checkpoints/100 was altered" in ended.out


def test_a_damaged_log_is_bundled_with_exit_1_and_one_that_proves_nothing_not_at_all(
    command: Command, log: Path, tmp_path: Path
) -> None:
    (log / "seg/0-300.jsonl.zst").unlink()
    damaged = command("bundle", "make", tmp_path / "damaged", "--log", log, *TRUSTED)
    assert (damaged.code, damaged.out.split()[0]) == (BAD, "tampered")
    assert (tmp_path / "damaged/MANIFEST").is_file()
    (log / "checkpoints/100").write_bytes(b"another head")
    refused = command("bundle", "make", tmp_path / "refused", "--log", log, *TRUSTED)
    assert refused.code == BAD
    assert "nothing was written" in refused.err
    assert not (tmp_path / "refused").exists()


def test_lines_are_announced_as_personal_data(command: Command, log: Path, tmp_path: Path) -> None:
    make = ("bundle", "make", tmp_path / "bundle", "--log", log, *TRUSTED, "--with-lines")
    is_exit_2(command(*make), "--records")
    ended = command(*make, "--records", "7")
    assert ended.code == GOOD
    assert "PERSONAL DATA" in ended.out


def test_what_is_no_bundle_is_exit_2(command: Command, log: Path, tmp_path: Path) -> None:
    key = ("--key", KEY)
    is_exit_2(command("bundle", "verify", log, *key), "MANIFEST")
    is_exit_2(command("bundle", "verify", tmp_path / "none", *key), "cannot read")
    is_exit_2(command("bundle", "verify", log / "checkpoints/100", *key), "zip")
    is_exit_2(command("bundle", "verify", log, "--key", "nonsense"), "name+hash+base64")
    is_exit_2(command("bundle", "verify", log, "--origin", "x"), "--origin needs --key")
    make = ("bundle", "make", log, "--log", log, *TRUSTED)
    is_exit_2(command(*make), "exists")
    is_exit_2(command("bundle", "make", tmp_path / "b", *make[3:], "--records", "x"), "A-B")


@pytest.mark.parametrize("verb", [("prove",), ("bundle", "make"), ("bundle", "verify")])
def test_the_verbs_never_load_prefect(verb: tuple[str, ...]) -> None:
    code = (
        "import sys\nfrom deployments import cli, prove, bundle\n"
        f"sys.argv = ['runbook', *{verb!r}, '--help']\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "assert 'prefect' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: runbook" in done.stdout
