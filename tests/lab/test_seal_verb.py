"""`runbook seal`: the real sealer of the lab, and sealers that are wrong, away or lie."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deployments.exits import BAD, COULD_NOT_TELL, GOOD
from deployments.lab.environment import PROJECT
from deployments.lab.stack import ORIGIN, Lab
from tasks.domain.facts import FactKind
from tasks.domain.ledger import Checkpoint, NoteSigner, sign_checkpoint, signature_line
from tasks.settings import settings
from tasks.work import journal
from tasks.work.sealed_logs import LogName, trust_of
from tests.clients import loopback
from tests.conftest import RECORDS

pytestmark = pytest.mark.components


def seal(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deployments.cli", "seal", *map(str, arguments)],
        env={**os.environ, **variables},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def answered(answer: bytes, *arguments: object) -> subprocess.CompletedProcess[str]:
    """What the command does when the sealer answers this."""
    with loopback.answering(loopback.sending(answer)) as port:
        return seal(*arguments, RUNBOOK_SEALER__URL=f"http://127.0.0.1:{port}")


def said(status: int, **value: object) -> bytes:
    return loopback.http(status, json.dumps(value).encode())


def test_new_records_are_sealed_and_the_proven_head_is_printed(
    patient: Lab, tmp_path: Path
) -> None:
    written = tmp_path / "head.json"
    ended = seal("--json", written)
    assert (ended.returncode, ended.stderr) == (GOOD, "")
    assert f"sealed  {RECORDS:,} records of {ORIGIN}" in ended.stdout
    found = json.loads(written.read_text())
    assert (found["sealed"], found["size"], found["added"]) == (True, RECORDS, 0)
    assert found["witnesses"] == [witness.name for witness in patient.witnesses]
    trust = trust_of(LogName.AUDIT, settings())
    assert trust.open(found["note"]).checkpoint.root.hex() == found["root"]


@pytest.mark.usefixtures("patient")
def test_the_journal_is_sealed_by_name() -> None:
    journal.append("INC-1", FactKind.NOTE, {"text": "a fact"})
    ended = seal("--log", "journal")
    assert ended.returncode == GOOD
    assert f"sealed  1 records of {ORIGIN}/journal" in ended.stdout
    assert "new     1" in ended.stdout


def test_what_the_sealer_refuses_to_sign_is_bad(patient: Lab, tmp_path: Path) -> None:
    with patient.patient.connect("rlhf_audit") as connection:
        connection.execute("DELETE FROM audit_records WHERE seq = 3")
    written = tmp_path / "head.json"
    ended = seal("--json", written)
    assert ended.returncode == BAD
    assert f"not sealed  the sealer: the table has {RECORDS - 1} of the {RECORDS}" in ended.stdout
    assert json.loads(written.read_text())["sealed"] is False


def test_a_sealer_that_is_away_or_refuses_us_is_no_answer(patient: Lab) -> None:
    for variables, told in (
        ({"RUNBOOK_SEALER__URL": ""}, "RUNBOOK_SEALER__URL"),
        ({"RUNBOOK_SEALER__URL": "http://127.0.0.1:1"}, "ConnectError"),
        ({"RUNBOOK_SEALER__TOKEN": "wrong"}, "token"),
        ({"RUNBOOK_LEDGER__TRUST_FILE": str(patient.path / "none.toml")}, "none.toml"),
    ):
        ended = seal(**variables)
        assert (ended.returncode, ended.stdout) == (COULD_NOT_TELL, "")
        assert told in ended.stderr
        assert patient.sealer.token not in ended.stderr
    assert seal("--log", "other").returncode == COULD_NOT_TELL


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (said(503, error="Transient", message="a witness is away"), COULD_NOT_TELL),
        (said(409, error="Conflict", message="another sealer"), COULD_NOT_TELL),
        (said(502, error="Denied", message="no grant"), COULD_NOT_TELL),
        (said(502, error="KeyboardInterrupt", message=7), COULD_NOT_TELL),
        (said(500), COULD_NOT_TELL),
        (loopback.http(200, b"not json"), COULD_NOT_TELL),
        (loopback.http(200, b"[1]"), COULD_NOT_TELL),
        (
            said(200, origin=ORIGIN, size="5", root="", added=0, note="", timestamp="none"),
            COULD_NOT_TELL,
        ),
        (
            said(200, origin=ORIGIN, size=5, root="", added=True, note="", timestamp="none"),
            COULD_NOT_TELL,
        ),
        (said(200, origin=ORIGIN, size=5, root="", added=0, note="hello", timestamp="none"), BAD),
        (said(422, error="NotProven", message="\x1b[2Ja break\u202e"), BAD),
    ],
)
def test_each_odd_answer_has_its_exit_and_no_traceback(answer: bytes, code: int) -> None:
    ended = answered(answer)
    assert ended.returncode == code
    assert "Traceback" not in ended.stderr
    assert "\x1b" not in ended.stdout + ended.stderr
    assert "\u202e" not in ended.stdout + ended.stderr


@pytest.mark.slow
def test_an_answer_that_its_signatures_do_not_carry_is_bad(patient: Lab) -> None:
    head = Checkpoint(ORIGIN, 7, bytes(32))
    stranger = NoteSigner.generate(ORIGIN)
    alone = sign_checkpoint(head, patient.sealers_signer())
    one = alone + signature_line(head.text, patient.witnesses[0].signer, datetime.now(UTC))
    both = one + signature_line(head.text, patient.witnesses[1].signer, datetime.now(UTC))
    true = {"origin": ORIGIN, "size": 7, "root": bytes(32).hex(), "added": 0, "timestamp": "none"}
    assert answered(said(200, **true, note=both)).returncode == GOOD
    for note, told in (
        (sign_checkpoint(head, stranger), "signature"),
        (alone, "cosignatures by 2"),
        (one, "found 1"),
    ):
        ended = answered(said(200, **true, note=note))
        assert ended.returncode == BAD
        assert told in ended.stdout
    for lie in ({"size": 8}, {"root": "00"}):
        ended = answered(said(200, **(true | lie), note=both))
        assert ended.returncode == BAD
        assert "it signed 7" in ended.stdout
