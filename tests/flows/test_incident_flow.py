"""One incident from the alert to the report; the tests read what it has left behind."""

import base64
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from deployments.lab import dataset
from deployments.lab.damage import Damage
from deployments.lab.dataset import CANARIES
from deployments.lab.judging import account_for, unnamed_and_misnamed
from deployments.lab.patient import DATABASE
from deployments.lab.postgres import SUPERUSER, PostgresServer, binaries
from deployments.lab.stack import APPROVER, ORIGIN
from deployments.lab.template import PREFECT_DATABASE, RESPONDER_DATABASE
from tasks.domain.facts import FactKind
from tasks.domain.incident import Incident, Stage
from tasks.domain.ledger import is_tombstone
from tasks.domain.recovery_plan import CARRY_OVER, RECONCILE, RESTORE, SWAP
from tasks.work import journal
from tests.flows.responding import Production, Responding
from tests.pristine import Pristine

pytestmark = pytest.mark.flows

_ROWS = "SELECT seq, record, leaf FROM audit_records ORDER BY seq"

_CARRIER = """
SELECT seq, record FROM audit_records WHERE position(%s::bytea in record) > 0 AND seq <> ALL(%s)
 ORDER BY seq LIMIT 1
"""

_Rows = dict[int, tuple[bytes, bytes]]


@dataclass(frozen=True)
class Played:
    """A whole response to tampered records, approved by a person, and what it began with.

    `served` and `quarantined` are the rows of the database in service and of the one kept aside:
    seq -> (record, leaf).
    """

    responding: Responding
    incident: Incident
    damage: Damage
    before: Production
    after: Production
    served: _Rows
    quarantined: _Rows

    @property
    def quarantine(self) -> str:
        return _quarantine(self.incident)


@pytest.fixture(scope="module")
def played(pristine_stack: Pristine) -> Iterator[Played]:
    responding = Responding(pristine_stack.restore())
    damage = _altered_personal_data(responding, responding.damage())
    before = responding.production()
    name = responding.alert()
    plan = responding.plan(name)
    assert responding.production() == before, "something was changed before the approval"
    responding.decide(name, plan, "approve")
    responding.until_fact(name, FactKind.REPORTED)
    responding.until_idle(name)
    responding.lab.writer.stop()
    incident = journal.read(name)
    with responding.lab.patient.connect() as admin:  # closed to everybody, superusers too
        admin.execute(f"ALTER DATABASE {_quarantine(incident)} ALLOW_CONNECTIONS true")
    yield Played(
        responding=responding,
        incident=incident,
        damage=damage,
        before=before,
        after=responding.production(),
        served=_rows(responding, DATABASE),
        quarantined=_rows(responding, _quarantine(incident)),
    )
    responding.close()


def _altered_personal_data(responding: Responding, damage: Damage) -> Damage:
    """The damage, and one altered record more for each canary: what is reported holds them all."""
    modified = set(damage.modified)
    with responding.lab.patient.connect(DATABASE) as connection:
        for canary in CANARIES:
            values = (canary.encode(), [*modified, *damage.deleted])
            seq, record = connection.execute(_CARRIER, values).fetchone() or (0, b"")
            event = json.loads(record)
            event["data"]["seconds"] += 1
            line = json.dumps(event, sort_keys=True, separators=(",", ":")).encode()
            connection.execute("UPDATE audit_records SET record = %s WHERE seq = %s", (line, seq))
            modified.add(seq)
    return replace(damage, modified=tuple(sorted(modified)))


def _quarantine(incident: Incident) -> str:
    done = incident.done(SWAP)
    assert done is not None
    return str(done["result"]["quarantine"])


def _rows(responding: Responding, database: str) -> _Rows:
    with responding.lab.patient.connect(database) as connection:
        found = connection.execute(_ROWS).fetchall()
    return {seq: (bytes(record), bytes(leaf)) for seq, record, leaf in found}


def test_an_approved_plan_ends_with_the_incident_closed_as_restored(played: Played) -> None:
    assert (played.incident.stage, played.incident.outcome) == (Stage.CLOSED, "restored")
    decisions = [(made.decision, made.by) for made in played.incident.decisions]
    assert decisions == [("approved", APPROVER)]


def test_the_findings_name_exactly_the_damaged_records(played: Played) -> None:
    diagnosis = played.incident.diagnosis
    assert diagnosis is not None
    size = played.responding.lab.options.records
    assert unnamed_and_misnamed(played.damage, size, diagnosis["findings"]) == (set(), set())
    counted = len(played.damage.modified), len(played.damage.deleted)
    assert (diagnosis["altered"], diagnosis["missing"]) == counted == (10, 5)


def test_each_step_is_done_once_and_in_the_order_of_the_plan(played: Played) -> None:
    facts = played.responding.facts(played.incident.id, FactKind.STEP_DONE)
    assert [fact.data["step"] for fact in facts] == [RESTORE, CARRY_OVER, RECONCILE, SWAP]
    assert not played.responding.facts(played.incident.id, FactKind.STEP_FAILED)


def test_the_hold_and_its_sealed_evidence_come_before_the_plan(played: Played) -> None:
    wanted = [FactKind.HOLD_SET, FactKind.EVIDENCE_SEALED, FactKind.PLAN_PROPOSED]
    facts = [fact for fact in played.incident.facts if "bag" not in fact.data]
    assert [fact.kind for fact in facts if fact.kind in wanted] == wanted


def test_the_log_in_service_has_every_signed_record_as_it_was_made(played: Played) -> None:
    options = played.responding.lab.options
    genuine = dataset.rows(options.records, options.seed, ORIGIN)
    assert [played.served.get(row.seq) for row in genuine] == [
        (row.record, row.leaf) for row in genuine
    ]


def test_every_acknowledged_record_is_in_service_or_listed_as_lost(played: Played) -> None:
    lab = played.responding.lab
    acknowledged = lab.writer.acknowledged()
    accounted = account_for(acknowledged, lab.reader_dsn)
    assert accounted.missing == ()
    assert accounted.acknowledged > 0
    assert played.incident.proof is not None
    lost = played.incident.proof["result"]["records_lost"]
    assert accounted.listed_as_lost <= lost


def test_no_seq_was_ever_used_twice(played: Played) -> None:
    assert sorted(played.served) == list(range(len(played.served)))
    acknowledged = [record.seq for record in played.responding.lab.writer.acknowledged()]
    assert len(set(acknowledged)) == len(acknowledged)
    signed = played.responding.lab.options.records
    assert [
        seq
        for seq, (record, leaf) in played.served.items()
        if seq >= signed
        and seq in played.quarantined
        and played.quarantined[seq] != (record, leaf)
        and not is_tombstone(record)
    ] == []


def test_the_damaged_database_is_kept_as_it_was_under_its_quarantine_name(played: Played) -> None:
    assert set(played.after.databases) == {DATABASE, played.quarantine}
    assert played.after.databases[played.quarantine] == played.before.databases[DATABASE]
    assert not set(played.damage.deleted) & played.quarantined.keys()
    altered = {
        seq for seq in played.damage.modified if played.quarantined[seq] != played.served[seq]
    }
    assert altered == set(played.damage.modified)


def test_the_sealer_signs_what_continues_its_last_head(played: Played) -> None:
    lab = played.responding.lab
    assert lab.seal_now() == len(played.served) > lab.options.records


def test_both_forms_of_the_report_are_what_the_journal_says(played: Played) -> None:
    report = played.incident.report
    assert report is not None
    for form, magic in (("html", b"<!doctype html>"), ("pdf", b"%PDF-")):
        content = Path(report[form]["path"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == report[form]["sha256"]
        assert content[: len(magic)].lower() == magic.lower()
    answer = httpx.get(report["url"], timeout=10)
    assert answer.status_code == 200
    assert played.incident.id in answer.text


def test_prefect_shows_one_completed_run_of_the_deployment_named_after_the_incident(
    played: Played,
) -> None:
    deployment = played.responding.get("/deployments/name/incident/incident")
    runs = played.responding.runs(played.incident.id)
    shown = [
        (run["name"], run["deployment_id"], run["state"]["type"], played.incident.id in run["tags"])
        for run in runs
    ]
    assert shown == [(played.incident.id, deployment["id"], "COMPLETED", True)]


def test_prefect_shows_the_artifacts_of_the_incident(played: Played) -> None:
    name = played.incident.id.lower()
    wanted = {f"{kind}-{name}" for kind in ("checks", "verdict", "plan", "report")}
    keys = {"key": {"any_": sorted(wanted)}}
    found = played.responding.filtered("artifacts", artifacts=keys)
    assert {artifact["key"] for artifact in found} == wanted


def test_the_people_who_must_know_were_told(played: Played) -> None:
    said = "\n".join(
        text for text in played.responding.said_in_chat() if played.incident.id in text
    )
    for audience in ("@on-call", "@compliance-officer"):
        assert audience in said


def test_personal_data_turns_up_in_no_place_of_the_responders(played: Played) -> None:
    lab = played.responding.lab
    places = {
        "Prefect": _dumped(lab.responder, PREFECT_DATABASE),
        "journal and inbox": _dumped(lab.responder, RESPONDER_DATABASE),
        "chat": "\n".join(played.responding.said_in_chat()).encode(),
    }
    files = [*lab.reports.rglob("*"), *(lab.path / "logs").rglob("*")]
    places |= {str(file): _content(file) for file in files if file.is_file()}
    assert {file.suffix for file in files} >= {".html", ".pdf", ".json", ".log"}
    assert played.incident.id.encode() in places["Prefect"]
    assert {name: leaked for name, held in places.items() if (leaked := _canaries_in(held))} == {}
    assert _canaries_in(_dumped(lab.patient, DATABASE)) == set(CANARIES), "the search finds nothing"


def test_a_run_that_is_started_again_for_a_closed_incident_changes_nothing(played: Played) -> None:
    name = played.incident.id
    run = played.responding.start_by_hand("incident/incident", incident_id=name)
    assert run["state"]["type"] == "COMPLETED"
    assert run["name"] == name
    assert len(journal.read(name).facts) == len(played.incident.facts)
    assert played.responding.production().databases == played.after.databases


def _dumped(server: PostgresServer, database: str) -> bytes:
    """Every row of a database, as text."""
    return subprocess.run(
        [binaries() / "pg_dump", "--data-only", "--dbname", server.dsn(SUPERUSER, database)],
        capture_output=True,
        check=True,
        timeout=60,
    ).stdout


def _content(file: Path) -> bytes:
    """A file's bytes; of a PDF its text where a reader is installed: PDFs are compressed."""
    reader = shutil.which("pdftotext") if file.suffix == ".pdf" else None
    if reader is None:
        return file.read_bytes()
    return subprocess.run([reader, file, "-"], capture_output=True, check=True, timeout=60).stdout


def _canaries_in(held: bytes) -> set[str]:
    """The canaries that some bytes hold, plain, in hex (bytea) or in base64 (persisted results)."""
    return {
        canary
        for canary in CANARIES
        if canary.encode() in held
        or canary.encode().hex().encode() in held
        or any(form in held for form in _base64_forms(canary.encode()))
    }


def _base64_forms(text: bytes) -> list[bytes]:
    """Base64 of a text wherever it begins: three forms, without the marks that its ends share."""
    return [base64.b64encode(b"." * skip + text)[4:-4] for skip in range(3)]
