"""Manifests of legacy logs, and hashes of last events that somebody kept."""

import pytest

from tasks.domain.errors import BadInput
from tasks.domain.ledger.legacy_manifest import (
    MAX_MANIFEST_LINES,
    ManifestError,
    log_path,
    parse_heads,
    parse_manifest,
)

HASH = "ab" * 32
OTHER = "cd" * 32


@pytest.mark.parametrize(
    "path",
    [
        "s/events/e.json",
        "./s/events/e.json",
        "audit_logs/s/events/e.json",
        "./audit_logs/s/events/e.json",
        "/app/audit_logs/s/events/e.json",
    ],
)
def test_a_line_of_sha256sum_names_a_file_wherever_the_log_was(path):
    for mark in (" ", "*"):
        assert parse_manifest(f"{HASH} {mark}{path}\n".encode()) == {"s/events/e.json": HASH}


def test_lines_about_other_files_are_read_over():
    text = f"{HASH}  s/chains/chain_1.json\n{OTHER}  annotations/s/batch.json\n"
    assert parse_manifest(text.encode()) == {"s/chains/chain_1.json": HASH}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "line 1"),
        (b"\n", "line 1"),
        (f"{HASH} s/events/e.json".encode(), "line 1"),
        (f"{HASH.upper()}  s/events/e.json".encode(), "line 1"),
        (f"{HASH[:-1]}  s/events/e.json".encode(), "line 1"),
        (f"{HASH}  s/events/e.json\r\n".encode(), "line 1"),
        (f"\\{HASH}  s/events/e\\n.json".encode(), "line 1"),
        (f"{HASH}  s/events/\xe9.json".encode(), "line 1"),
        (f"{HASH}  s/events/e.json\n\n{HASH}  s/events/f.json".encode(), "line 2"),
        (f"{HASH}  {'s' * 2000}/events/e.json".encode(), "line 1"),
        (f"{HASH}  s/events/e.json\n{OTHER}  ./s/events/e.json".encode(), "twice"),
        (f"{HASH}  README.md".encode(), "has none"),
        (b"\xff" * 1000, "line 1"),
        (b"\n" * (MAX_MANIFEST_LINES + 5), "lines"),
    ],
)
def test_what_is_no_manifest_is_refused_with_its_line(text, reason):
    with pytest.raises(ManifestError, match=reason):
        parse_manifest(text)


@pytest.mark.parametrize(
    "path",
    ["", "events/e.json", "s/events/e", "s/events/a/e.json", "../events/e.json", "s/other/e.json",
     "a\n/events/e.json/x", "s/events/.json"],
)  # fmt: skip
def test_a_path_that_no_logger_writes_is_none_of_the_log(path):
    assert log_path(path) is None


def test_heads_are_hashes_between_commas():
    both = frozenset({bytes.fromhex(HASH), bytes.fromhex(OTHER)})
    assert parse_heads(f"{HASH}, {OTHER}\n") == both
    for text in ("", "ab", f"{HASH},", f"{HASH} {OTHER}", ",".join([HASH] * 1001)):
        with pytest.raises(BadInput):
            parse_heads(text)
