"""`runbook verify` with a trust policy, over processes, and on logs of the legacy layout."""

import json
from pathlib import Path

import pytest

from deployments.exits import BAD, COULD_NOT_TELL, GOOD
from tests.commanding import Command, command, could_not_tell, environment, sealed_log
from tests.domain.ledger.large_log import files as large_files
from tests.domain.ledger.legacy_log import one_chain, public_pem
from tests.domain.ledger.sample_log import (
    ORIGIN,
    SIGNER,
    STRANGER,
    chained,
    note_of,
    sealed_files,
)

__all__ = ["command", "environment"]

LINES = chained(300)


def policy(directory: Path, *more: str, key: str = SIGNER.verifier.encoded) -> Path:
    file = directory / "trust.toml"
    head = f'origin = "{ORIGIN}"\n[[log_keys]]\nkey = "{key}"\n'
    file.write_text("".join([*more[:1], head, *more[1:]]), encoding="utf-8")
    return file


def anchor(lines: list[bytes]) -> str:
    return f'[anchor]\nnote = """{note_of(lines)}"""\n'


def written(directory: Path, files: dict[str, bytes]) -> Path:
    for path, data in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)
    return directory


def codes(file: Path) -> set[str]:
    return {each["code"] for each in json.loads(file.read_text())["findings"]}


def test_a_head_that_was_kept_must_be_continued(command: Command, tmp_path: Path) -> None:
    log, verdict = sealed_log(tmp_path / "log"), tmp_path / "v.json"
    kept = policy(tmp_path, "", anchor(LINES[:200]))
    ended = command("verify", log, "--trust", kept, "--json", verdict)
    assert (ended.code, codes(verdict)) == (GOOD, set())
    forked = policy(tmp_path, "", anchor(chained(200, session_id="other")))
    ended = command("verify", log, "--trust", forked, "--json", verdict)
    assert (ended.code, codes(verdict)) == (BAD, {"FORK"})
    longer = policy(tmp_path, "", anchor(chained(310, LINES)))
    ended = command("verify", log, "--trust", longer, "--json", verdict)
    assert (ended.code, codes(verdict)) == (BAD, {"ROLLBACK"})


def test_what_a_kept_head_covers_is_sampled_unless_all_is_asked_for(
    command: Command, tmp_path: Path
) -> None:
    log = written(tmp_path / "log", large_files())
    note = large_files()["checkpoints/131072"].decode()
    trust = policy(tmp_path, "", f'[anchor]\nnote = """{note}"""\n')
    ended = command("verify", log, "--trust", trust)
    assert ended.code == GOOD
    assert "1 of 2 older blocks" in ended.out
    ended = command("verify", log, "--trust", trust, "--full", "--workers", "2")
    assert ended.code == GOOD
    assert ended.out.startswith("verified  140,000 records hashed")
    assert "scope" not in ended.out


def test_too_few_witnesses_are_told_and_never_verified(command: Command, tmp_path: Path) -> None:
    witness = "w.example+a88ac538+BGa+fjMsekUzMr2dCn99sFX1xe8aBq2mbZizn7aBDEc6"
    verdict = tmp_path / "v.json"
    key = "w1.example" + witness[len("w.example") :]
    trust = policy(tmp_path, "quorum = 1\n", f'[[witnesses]]\nkey = "{key}"\n')
    ended = command("verify", sealed_log(tmp_path / "log"), "--trust", trust, "--json", verdict)
    assert (ended.code, codes(verdict)) == (COULD_NOT_TELL, {"QUORUM"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "origin"),
        ("nonsense", "not TOML"),
        (f'origin = "{ORIGIN}"\n', "log_keys"),
        (f'origin = "{ORIGIN}"\n[[log_keys]]\nkey = "x"\n', "verifier key"),
        ('origin = "x"\nsurprise = 1\n', "surprise"),
        ("a = " + "[" * 5000, "TOML"),
        ("\udcff", "UTF-8"),
        ("x" * 200_000, "at most"),
    ],
    ids=["empty", "no TOML", "no key", "no key's form", "unknown", "deep", "bytes", "large"],
)
def test_a_wrong_policy_says_what_is_wrong(
    command: Command, tmp_path: Path, text: str, words: str
) -> None:
    file = tmp_path / "trust.toml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    could_not_tell(command("verify", sealed_log(tmp_path / "log"), "--trust", file), words)


def test_a_policy_and_a_key_are_not_both_taken(command: Command, tmp_path: Path) -> None:
    ended = command(
        *("verify", sealed_log(tmp_path / "log"), "--trust", policy(tmp_path)),
        *("--log-key", STRANGER.verifier.encoded),
    )
    could_not_tell(ended, "not both")


def legacy(tmp_path: Path) -> tuple[Path, Path, Path]:
    log = one_chain()
    directory = written(tmp_path / "restored-logs", log.files)
    key, manifest = tmp_path / "audit.pem", tmp_path / "manifest.txt"
    key.write_bytes(public_pem())
    manifest.write_text("".join(f"{digest}  {path}\n" for path, digest in log.manifest().items()))
    return directory, key, manifest


def test_a_legacy_log_is_verified_only_with_something_from_outside(
    command: Command, tmp_path: Path
) -> None:
    directory, key, manifest = legacy(tmp_path)
    ended = command("verify", directory, "--public-key", key)
    assert ended.code == COULD_NOT_TELL
    assert "legacy" in ended.out
    assert "UNPROVEN" in ended.out
    verdict = tmp_path / "v.json"
    ended = command(
        *("verify", directory, "--public-key", key, "--manifest", manifest, "--json", verdict)
    )
    assert ended.code == GOOD
    said = json.loads(verdict.read_text())
    assert (said["verdict"], said["layout"], said["findings"]) == ("verified", "legacy", [])


def test_a_legacy_event_that_was_edited_is_exit_1(command: Command, tmp_path: Path) -> None:
    directory, key, manifest = legacy(tmp_path)
    event = sorted(directory.rglob("events/*.json"))[3]
    event.write_bytes(event.read_bytes().replace(b'"event_type":"annotation"', b'"event_type":"x"'))
    ended = command("verify", directory, "--public-key", key, "--manifest", manifest)
    assert ended.code == BAD


def test_a_key_that_is_none_is_told_before_anything_is_read(
    command: Command, tmp_path: Path
) -> None:
    directory, _, manifest = legacy(tmp_path)
    could_not_tell(command("verify", directory, "--public-key", manifest), "PEM")


def test_a_million_entries_in_a_directory_end_in_a_clear_answer(
    command: Command, tmp_path: Path
) -> None:
    """Fewer here: what counts is that names of no sealer are counted, and never opened."""
    log = sealed_log(tmp_path / "log")
    for number in range(3000):
        (log / "seg" / f"odd {number}").symlink_to("/dev/zero")
    ended = command("verify", log, "--log-key", SIGNER.verifier.encoded, "--origin", ORIGIN)
    assert ended.code == GOOD
    assert "3000" in ended.out


def test_the_files_of_both_layouts_at_once_are_the_sealed_ones(
    command: Command, tmp_path: Path
) -> None:
    directory, _, _ = legacy(tmp_path)
    written(directory, sealed_files(LINES))
    ended = command("verify", directory, "--log-key", SIGNER.verifier.encoded, "--origin", ORIGIN)
    assert ended.code == GOOD
    assert "signed checkpoint" in ended.out
