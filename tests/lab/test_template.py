"""A template is built anew when what a deployment keeps of a flow changes, and only then."""

from pathlib import Path

import pytest

from deployments.lab import template
from deployments.lab.stack import Lab

_FLOW = '''
@flow(name="Triage")
def triage(incident: str) -> None:
    """Look."""
    return None
'''


def _project(directory: Path, flow: str, monkeypatch: pytest.MonkeyPatch) -> str:
    (directory / "flows").mkdir(exist_ok=True)
    (directory / "flows" / "triage.py").write_text(flow)
    monkeypatch.setattr(template, "PROJECT", directory)
    return template.responder_key()


def test_a_flows_body_does_not_change_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _project(tmp_path, _FLOW, monkeypatch)
    assert _project(tmp_path, _FLOW.replace("return None", "print()"), monkeypatch) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [("incident: str", "incident: str, force: bool"), ('name="Triage"', 'name="T"'), ("Look", "L")],
)
def test_a_flows_signature_and_description_change_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str
) -> None:
    before = _project(tmp_path, _FLOW, monkeypatch)
    assert _project(tmp_path, _FLOW.replace(old, new), monkeypatch) != before


def test_the_deployments_and_the_lock_change_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [_project(tmp_path, _FLOW, monkeypatch)]
    for name in ("prefect.yaml", "requirements.lock"):
        (tmp_path / name).write_text("new")
        keys.append(template.responder_key())
    assert len(set(keys)) == 3


@pytest.mark.components
def test_a_labs_passwords_are_not_the_templates(patient: Lab) -> None:
    known = (template.plain_cluster(patient.processes) / "password").read_text()
    for server in (patient.patient, patient.responder):
        assert known not in server.passwords.values()
        assert len(set(server.passwords.values())) == len(server.passwords)
