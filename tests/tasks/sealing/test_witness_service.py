"""A witness process over HTTP: what it signs, what it refuses, and what outlives its death."""

import os
import random
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deployments import serving
from deployments.lab.environment import LOOPBACK
from deployments.lab.state import private_file
from deployments.witness.__main__ import main
from deployments.witness.service import Witness, WitnessServer
from deployments.witness.state import State
from tasks.domain.ledger import KeyType, NoteSigner, signatures
from tasks.domain.ledger.witness import MAX_REQUEST_BYTES, SIZE_TYPE
from tests.domain.ledger.sample_log import ORIGIN, SIGNER, TRUST
from tests.tasks.sealing.witnessing import FORK, TREE, WitnessProcess, asking

pytestmark = pytest.mark.components


def connected(witness: WitnessProcess) -> socket.socket:
    return socket.create_connection((LOOPBACK, witness.port), timeout=20)


def answer_of(connection: socket.socket) -> bytes:
    received = b""
    with suppress(ConnectionError):  # it may close on what it did not read
        while part := connection.recv(65_536):
            received += part
    return received


def test_growth_is_cosigned_with_the_time_at_which_it_was_seen(witness: WitnessProcess) -> None:
    for old, new in ((0, 0), (0, 7), (7, 7), (7, 300)):
        request = asking(old, new)
        status, body, _ = witness.send(request.encoded)
        assert status == 200
        (seen,) = signatures(request.note + body.decode(), [witness.signer.verifier])
        assert seen.at is not None
        assert abs(datetime.now(UTC) - seen.at) < timedelta(seconds=10)


def test_a_conflict_names_the_kept_size_and_its_type(witness: WitnessProcess) -> None:
    assert witness.ask(0, 20) == 200
    assert witness.send(asking(7, 30).encoded) == (409, b"20\n", SIZE_TYPE)
    assert witness.send(asking(20, 20, FORK).encoded) == (409, b"20\n", SIZE_TYPE)


def test_a_replayed_older_checkpoint_is_refused(witness: WitnessProcess) -> None:
    first = asking(0, 9).encoded
    assert witness.send(first)[0] == 200
    assert witness.ask(9, 20) == 200
    assert witness.send(first)[:2] == (409, b"20\n")
    assert witness.send(asking(9, 20).encoded)[:2] == (409, b"20\n")


def test_a_killed_witness_still_knows_and_refuses_rollback_and_fork(
    witness: WitnessProcess,
) -> None:
    assert witness.ask(0, 20) == 200
    witness.kill()
    witness.start()
    assert witness.ask(0, 12) == 409
    assert witness.ask(20, 20, FORK) == 409
    assert witness.ask(20, 40, FORK) == 422
    assert witness.ask(20, 40) == 200


def test_two_signed_histories_are_kept_as_evidence_once(witness: WitnessProcess) -> None:
    witness.ask(0, 20)
    for _ in range(3):
        assert witness.ask(20, 40, FORK) == 422
    (evidence,) = witness.state.glob("*.evidence")
    kept = evidence.read_text(encoding="utf-8")
    assert asking(0, 20).note in kept
    assert asking(20, 40, FORK).note in kept


def test_killed_at_any_moment_it_never_forgets_what_it_has_cosigned(
    witness: WitnessProcess,
) -> None:
    chance = random.Random(4)
    assert witness.ask(0, 1) == 200
    size = cosigned = 1  # what it must have kept at least, what it has answered
    for _ in range(8):
        timer = threading.Timer(chance.uniform(0.0, 0.05), witness.kill)
        timer.start()
        with suppress(OSError):
            while size < 290:
                status, _, _ = witness.send(asking(size, size + 1).encoded)
                assert status == 200
                size = cosigned = size + 1
        timer.join()
        witness.kill()
        witness.start()
        status, body, _ = witness.send(asking(0, 300, FORK).encoded)
        assert status == 409
        assert int(body) in {size, size + 1}  # killed after remembering, before answering
        size = int(body)
        assert witness.ask(size, size) == 200
    assert cosigned > 1


def test_of_two_forks_asked_at_once_one_is_cosigned(witness: WitnessProcess) -> None:
    assert witness.ask(0, 12) == 200
    requests = [asking(12, 13, tree).encoded for tree in (TREE, FORK) * 8]
    with ThreadPoolExecutor(len(requests)) as pool:
        said = [status for status, _, _ in pool.map(witness.send, requests)]
    assert said.count(200) == 1
    assert set(said) == {200, 409}
    assert {witness.ask(13, 13, TREE), witness.ask(13, 13, FORK)} == {200, 409}


_POST = b"POST /add-checkpoint HTTP/1.1\r\n"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (_POST + b"Host: w\r\n\r\n", b"411"),
        (_POST + b"Content-Length: -5\r\n\r\n", b"411"),
        (_POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411"),
        (_POST + b"Content-Length: %d\r\n\r\n" % (MAX_REQUEST_BYTES + 1), b"413"),
        (_POST + b"Content-Length: " + b"9" * 500 + b"\r\n\r\n", b"413"),
        (b"POST /other HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b"404"),
        (b"GET /add-checkpoint HTTP/1.1\r\n\r\n", b"404"),
        (b"PUT /add-checkpoint HTTP/1.1\r\n\r\n", b"501"),
        (b"GET " + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
    ],
)
def test_what_is_no_request_is_answered_and_over(
    witness: WitnessProcess, head: bytes, status: bytes
) -> None:
    with connected(witness) as connection:
        connection.sendall(head)
        assert status in answer_of(connection)
    assert witness.ask(0, 5) == 200


def test_random_bodies_are_refused_and_nothing_is_cosigned(witness: WitnessProcess) -> None:
    chance = random.Random(7)
    good = asking(0, 20).encoded
    for _ in range(200):
        at = chance.randrange(len(good))
        body = good[:at] + chance.randbytes(chance.randrange(4)) + good[at + chance.randrange(4) :]
        if body != good:
            assert witness.send(body)[0] in {400, 403, 404, 422}
    assert not list(witness.state.glob("*.note"))


def test_a_slow_client_holds_up_nobody(witness: WitnessProcess) -> None:
    body = asking(0, 20).encoded
    slow = [connected(witness) for _ in range(10)]
    for each in slow:
        each.sendall(b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body))
        each.sendall(body[:40])
    began = time.monotonic()
    assert witness.ask(0, 20) == 200
    assert time.monotonic() - began < 5
    for each in slow:
        each.close()


def test_a_client_that_drips_is_ended_at_its_deadline(
    witness: WitnessProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "READ_SECONDS", 1.0)
    witness.kill()
    served = Witness(witness.signer, State(witness.state, witness.signer.verifier), {ORIGIN: TRUST})
    server = WitnessServer((LOOPBACK, 0), served)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with socket.create_connection(server.server_address, timeout=20) as connection:
            began = time.monotonic()
            with suppress(ConnectionError):
                while time.monotonic() - began < 15:
                    connection.sendall(b"G")
                    time.sleep(0.2)
            assert time.monotonic() - began < 5
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_more_connections_than_it_takes_are_closed_and_those_after_are_served(
    witness: WitnessProcess,
) -> None:
    idle = [connected(witness) for _ in range(serving.MAX_CONNECTIONS)]
    time.sleep(0.3)
    with connected(witness) as one_more:
        assert answer_of(one_more) == b""
    for each in idle:
        each.close()
    until = time.monotonic() + 10
    status = 0
    while status != 200 and time.monotonic() < until:
        with suppress(OSError):
            status = witness.ask(0, 5)
    assert status == 200


def refused_to_start(witness: WitnessProcess) -> str:
    process = witness.launch()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    return errors.decode()


def test_a_key_that_others_may_read_is_refused(witness: WitnessProcess) -> None:
    witness.kill()
    witness.key.chmod(0o644)
    assert "chmod 600" in refused_to_start(witness)


def test_a_link_to_a_key_that_others_may_read_is_refused(witness: WitnessProcess) -> None:
    witness.kill()
    moved = witness.key.rename(witness.directory / "elsewhere")
    witness.key.symlink_to(moved)
    moved.chmod(0o640)
    assert "chmod 600" in refused_to_start(witness)
    moved.chmod(0o600)
    witness.start()
    assert witness.ask(0, 5) == 200


def test_a_pipe_is_no_key_file(witness: WitnessProcess) -> None:
    witness.kill()
    witness.key.unlink()
    os.mkfifo(witness.key, 0o600)
    assert "chmod 600" in refused_to_start(witness)


def test_a_logs_key_is_no_witness_key(witness: WitnessProcess) -> None:
    witness.kill()
    private_file(witness.key, SIGNER.encoded)
    assert "type 4" in refused_to_start(witness)


def test_a_key_that_is_none_is_not_shown(witness: WitnessProcess) -> None:
    witness.kill()
    private_file(witness.key, witness.signer.encoded[:-4])
    told = refused_to_start(witness)
    assert "note key" in told
    assert witness.signer.encoded[20:60] not in told


def test_a_witness_without_its_state_does_not_start(witness: WitnessProcess) -> None:
    witness.kill()
    witness.state.rename(witness.directory / "lost")
    assert "restore it" in refused_to_start(witness)
    witness.state.mkdir()
    assert "restore it" in refused_to_start(witness)


def test_another_witness_does_not_use_this_state(witness: WitnessProcess) -> None:
    witness.kill()
    other = NoteSigner.generate(witness.name, KeyType.WITNESS)
    private_file(witness.key, other.encoded)
    assert "expected the state of" in refused_to_start(witness)


def test_two_processes_never_share_a_state(witness: WitnessProcess) -> None:
    assert "using it" in refused_to_start(witness)
    assert witness.ask(0, 5) == 200


def test_a_used_state_is_not_begun_anew(witness: WitnessProcess) -> None:
    assert witness.ask(0, 5) == 200
    arguments = ["--key", str(witness.key), "--state", str(witness.state), "--new"]
    assert main(arguments) == 2


@pytest.mark.parametrize("content", [b"", b"\xff", b"something else"])
def test_with_a_damaged_state_nothing_is_cosigned(witness: WitnessProcess, content: bytes) -> None:
    witness.ask(0, 5)
    (note,) = witness.state.glob("*.note")
    note.write_bytes(content)
    assert witness.ask(5, 9) == 500
    assert note.read_bytes() == content


def test_without_a_log_to_witness_it_does_not_start(
    witness: WitnessProcess, tmp_path: Path
) -> None:
    witness.kill()
    witness.log = tmp_path / "none.toml"
    witness.log.write_text("quorum = 1\n")
    assert "origin" in refused_to_start(witness)


def test_sigterm_ends_it(witness: WitnessProcess) -> None:
    assert witness.popen is not None
    witness.popen.terminate()
    with suppress(subprocess.TimeoutExpired):
        witness.popen.communicate(timeout=10)
    assert witness.popen.returncode == 0
