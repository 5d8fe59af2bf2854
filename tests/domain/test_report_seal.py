"""The seal over a report's forms, and the schema of its JSON: what is altered is found."""

import hashlib
import json
from datetime import timedelta
from typing import Any

import jsonschema
import pytest

from tasks.domain.errors import BadInput
from tasks.domain.facts import FactKind
from tasks.domain.ledger import NoteSigner
from tasks.domain.report import SCHEMA, build_report
from tasks.domain.report_json import SCHEMA_FILE, report_json, schema_of_model, shipped_schema
from tasks.domain.report_seal import FORMS, ReportSeal, verify
from tests.builders import ALERT_AT, INCIDENT, JournalBuilder
from tests.story import full_incident, full_journal, long_incident

NOW = ALERT_AT + timedelta(minutes=5)
FILES = {"html": b"<p>", "pdf": b"%PDF-", "json": b"{}"}
SIGNER = NoteSigner.from_seed("responder.example", b"s" * 32)
OTHER = NoteSigner.from_seed("responder.example", b"t" * 32)
KEY = SIGNER.verifier


def sealed(signer: NoteSigner = SIGNER) -> str:
    digests = {form: hashlib.sha256(FILES[form]).hexdigest() for form in FORMS}
    return ReportSeal(INCIDENT, digests, 42, "ab" * 32).signed(signer)


def test_a_report_as_it_was_signed_is_proven_and_its_seal_reads_back() -> None:
    verdict = verify(sealed(), FILES, [KEY])
    assert (verdict.problems, verdict.signer) == ((), str(KEY))
    assert verdict.proven == FORMS
    assert (verdict.seal.incident, verdict.seal.facts) == (INCIDENT, 42)


@pytest.mark.parametrize("form", FORMS)
def test_one_changed_byte_is_found_and_named(form: str) -> None:
    verdict = verify(sealed(), FILES | {form: FILES[form] + b" "}, [KEY])
    (problem,) = verdict.problems
    assert problem.startswith(f"{form}: expected sha256 ")


def test_a_form_that_is_not_there_is_absent_and_nothing_at_all_is_a_problem() -> None:
    assert verify(sealed(), {"pdf": FILES["pdf"]}, [KEY]).absent == ("html", "json")
    assert verify(sealed(), {}, [KEY]).problems


def test_another_key_of_the_same_name_proves_nothing() -> None:
    assert verify(sealed(OTHER), FILES, [KEY]).problems
    altered = sealed().replace("facts 42", "facts 43")
    assert verify(altered, FILES, [KEY]).problems


def test_without_a_key_only_digests_are_compared_and_nobody_is_named() -> None:
    verdict = verify(sealed(), FILES, [])
    assert (verdict.signer, verdict.problems) == ("", ())


@pytest.mark.parametrize(
    "note",
    [
        "",
        "x",
        "\x00\n\nz",
        "a checkpoint\n1\nAAAA\n\n— x AAAAAAAA\n",
        sealed().replace("html sha256", "html md5"),
        sealed().replace("incident ", "incident ../"),
        sealed().replace("facts 42", "facts 042"),
    ],
)
def test_what_is_no_seal_is_refused(note: str) -> None:
    with pytest.raises(BadInput):
        verify(note, FILES, [KEY])


def test_the_shipped_schema_is_that_of_the_model_and_a_schema() -> None:
    assert json.loads(SCHEMA_FILE.read_text()) == schema_of_model(), (
        "the shape of the report changed: give it another version and ship its schema"
    )
    jsonschema.Draft202012Validator.check_schema(shipped_schema())
    assert SCHEMA_FILE.name.startswith(f"report-{SCHEMA.rsplit('/', 1)[1]}.")


def reviewed() -> JournalBuilder:
    story = full_journal()
    story.add(100.0, FactKind.ANSWERED, {"question": "causes", "text": "a\nb"}, "ada")
    item = {"item": "A1", "action": "x", "kind": "prevent", "owner": "o", "due": "2026-03-01"}
    return story.add(101.0, FactKind.ACTION_SET, item | {"verification": "v"}, "ada")


@pytest.mark.parametrize(
    "facts",
    [full_incident(), reviewed().incident_state(), JournalBuilder().incident_state()],
    ids=["whole", "reviewed", "empty"],
)
def test_every_report_is_valid_by_the_shipped_schema(facts: Any) -> None:
    machine = json.loads(report_json(build_report(facts, NOW)))
    jsonschema.validate(machine, shipped_schema(), cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.pop("prompts"),
        lambda data: data.update(schema="rlhf-audit-runbook/report/1"),
        lambda data: data.update(secret="x"),
        lambda data: data["journal"].update(count="many"),
        lambda data: data["readings"]["timeline"][0].pop("at"),
    ],
)
def test_what_is_no_report_is_refused_by_the_schema(spoil: Any) -> None:
    machine = json.loads(report_json(build_report(long_incident(20), NOW)))
    spoil(machine)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(machine, shipped_schema(), cls=jsonschema.Draft202012Validator)
