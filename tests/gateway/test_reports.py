"""Over many incidents and around one: the figures' page, file, verb; ranges of Prometheus."""

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from deployments.cli import cli
from tasks.domain.facts import Fact, FactKind
from tasks.domain.metric_ranges import ranges_of
from tasks.sections.systems import MetricsSettings
from tasks.work import drill_records, journal, people, ranges
from tests.clients import loopback
from tests.clients.loopback import Answering, answering, sending
from tests.gateway.browsers import Browser
from tests.gateway.page_stories import closed, opened, tell

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("database")]

People = Callable[[str, str], httpx.Client]
LogIn = Callable[[str, str], Browser]


def acknowledged(incident: str) -> None:
    tell(incident, FactKind.NOTE, {"text": "seen", "acknowledged": True}, actor="rosa")


def test_the_page_counts_incidents_and_shows_no_p90_of_too_few(log_in: LogIn) -> None:
    for _ in range(2):
        acknowledged(closed())
    opened()
    shown = log_in("vera", "viewer").get("/figures?days=7").text
    assert "3 incidents of the last 7 days" in shown
    assert "too few" in shown
    assert "time to acknowledge" in shown
    assert 'href="/figures.csv?days=7"' in shown


def test_the_page_without_any_incident_is_a_page_and_odd_days_are_refused(log_in: LogIn) -> None:
    vera = log_in("vera", "viewer")
    assert "0 incidents" in vera.get("/figures").text
    for days in ("0", "99999", "x", "-1"):
        assert vera.get(f"/figures?days={days}").status_code == 422


def test_a_stranger_sees_no_figure(gateway: str) -> None:
    for path in ("/figures.csv", "/figures.json"):
        assert httpx.get(f"{gateway}{path}").status_code in {401, 403}
    assert httpx.get(f"{gateway}/figures").status_code == 303


def test_the_csv_has_a_line_an_incident_and_the_verb_writes_the_same(
    person: People, gateway: str, tmp_path: Path
) -> None:
    names = [closed("=cmd()", "=1+1"), opened()]
    drills = {"what": "a restored backup", "holds": True, "summary": "s", "result": {}}
    journal.append(drill_records.JOURNALED_AS, FactKind.VERIFIED, drills)
    answer = person("vera", "viewer").get("/figures.csv")
    assert answer.headers["Content-Type"].startswith("text/csv")
    lines = list(csv.DictReader(io.StringIO(answer.text)))
    assert [line["incident"] for line in lines] == names
    assert lines[0]["component"] == "'=1+1"
    token = tmp_path / "token"
    token.write_text(people.add_person("eve", "viewer", timedelta(hours=1)))
    file, machine = tmp_path / "incidents.csv", tmp_path / "figures.json"
    where = ["--gateway", gateway, "--token-file", str(token)]
    done = CliRunner().invoke(cli, ["figures", "--csv", str(file), "--json", str(machine), *where])
    assert (done.exit_code, done.stderr) == (0, "")
    assert file.read_text() == answer.text
    assert "time to detect" in done.stdout
    assert json.loads(machine.read_text())["summary"][0]["n"] == 0


def kept(incident: str, answer: Answering, *, now: datetime | None = None) -> list[Fact]:
    """What is new in the journal when a Prometheus answers so."""
    before = len(journal.read(incident).facts)
    with answering(answer) as port:
        metrics = MetricsSettings(prometheus_url=f"http://127.0.0.1:{port}", timeout_seconds=2)
        ranges.keep(metrics, incident, now or datetime.now(UTC))
    return journal.read(incident).facts[before:]


def matrix(*values: float) -> Answering:
    began = datetime.now(UTC).timestamp() - 60
    points = [[began + 5 * place, str(value)] for place, value in enumerate(values)]
    result = [{"metric": {}, "values": points}] if points else []
    body = {"status": "success", "data": {"resultType": "matrix", "result": result}}
    return sending(loopback.http(200, json.dumps(body).encode()))


def test_ranges_are_kept_once_and_a_trouble_of_prometheus_is_noted_and_asked_again() -> None:
    incident = closed()
    (noted,) = kept(incident, sending(loopback.http(500, b"no")))
    assert noted.kind is FactKind.NOTE
    assert kept(incident, sending(b"nonsense")) == [], "said once"
    assert kept(incident, matrix()) == []
    (fact,) = kept(incident, matrix(0.0, 0.5, 0.25))
    assert fact.kind is FactKind.RANGES_KEPT
    rows = ranges_of(journal.read(incident).facts)
    assert [row.name for row in rows] == ["errors", "p95", "requests"]
    assert [value for _, value in rows[0].points] == [0.0, 0.5, 0.25]
    assert kept(incident, matrix(9.0, 9.0)) == [], "what was kept is not asked for again"


def test_without_a_prometheus_nothing_is_kept_and_nothing_is_noted() -> None:
    incident = closed()
    before = len(journal.read(incident).facts)
    ranges.keep(MetricsSettings(prometheus_url=""), incident, datetime.now(UTC))
    assert len(journal.read(incident).facts) == before
