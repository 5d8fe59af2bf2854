"""The whole stack: Prefect from the template, the gateway, the writer; and its way back."""

import json
import time

import httpx
import pytest

from deployments.lab.patient import DATABASE
from deployments.lab.stack import APPROVER, Lab
from deployments.lab.table_faults import tampered_records
from tasks.settings import settings
from tasks.work import people
from tests.conftest import RECORDS
from tests.pristine import Pristine

pytestmark = pytest.mark.flows

_MEMORY_LIMIT = 1.3e9  # the demo keeps to 1.5 with a whole response in it


def test_the_deployments_of_prefect_yaml_are_there_and_the_gateway_is_ready(stack: Lab) -> None:
    with httpx.Client(base_url=f"{stack.prefect_url}/api") as prefect:
        found = prefect.post("/deployments/filter", json={}).json()
        pool = prefect.get("/work_pools/responder").json()
    assert {"incident", "triage"} <= {deployment["name"] for deployment in found}
    assert pool["type"] == "process"
    assert httpx.get(f"{stack.gateway_url}/readyz").status_code == 200
    assert httpx.get(stack.prefect_url).text.startswith("<!")


def test_no_schedule_starts_a_run_in_a_lab(stack: Lab) -> None:
    with httpx.Client(base_url=f"{stack.prefect_url}/api") as prefect:
        found = prefect.post("/deployments/filter", json={}).json()
        runs = prefect.post("/flow_runs/filter", json={}).json()
    assert {each["name"] for each in found if each["schedules"]} >= {"integrity", "sealing"}
    assert [run for run in runs if run["auto_scheduled"]] == []


def test_the_stack_keeps_to_its_memory(pristine_stack: Pristine) -> None:
    assert 0.3e9 < pristine_stack.memory_bytes < _MEMORY_LIMIT


def test_the_settings_are_the_labs_and_the_approver_is_known(stack: Lab) -> None:
    known = settings()
    assert known.lab
    assert known.api.url == stack.api.url
    person = people.authenticate(stack.people[APPROVER])
    assert person is not None
    assert (person.name, person.role) == (APPROVER, "approver")
    assert people.authenticate("another") is None


def test_a_damaged_stack_comes_back_and_its_writer_writes(pristine_stack: Pristine) -> None:
    lab = pristine_stack.restore()
    _until_the_writer_writes(lab)
    assert lab.seal_now() > RECORDS
    tampered_records(lab)
    lab = pristine_stack.restore()
    with lab.patient.connect(DATABASE) as connection:
        row = connection.execute(
            "SELECT count(*), count(*) FILTER (WHERE sha256('\\x00'::bytea || record) <> leaf)"
            " FROM audit_records WHERE seq < %s",
            (RECORDS,),
        ).fetchone()
    assert row == (RECORDS, 0)
    _until_the_writer_writes(lab)
    assert lab.writer.acknowledged()[0].seq == RECORDS


def _until_the_writer_writes(lab: Lab) -> None:
    until = time.monotonic() + 30
    while not lab.writer.acknowledged():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_nothing_secret_is_in_the_summary(stack: Lab) -> None:
    text = json.dumps(stack.summary())
    secrets = [*stack.patient.passwords.values(), stack.api.token, stack.alert_token]
    assert not [secret for secret in secrets if secret in text]
    assert stack.prefect_url in text
