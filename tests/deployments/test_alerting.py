"""What we ship for Alertmanager and Prometheus, as their own tools judge it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deployments.lab import prometheus
from deployments.lab.environment import PROJECT
from tasks.sections.house import GatewaySettings

_ALERTMANAGER = PROJECT / "deployments" / "alertmanager"
_PROMETHEUS = PROJECT / "deployments" / "prometheus"
_ALERT_BYTES = 8 * 1024

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool is installed on PATH"
)
needs_amtool = pytest.mark.skipif(
    shutil.which("amtool") is None, reason="no amtool is installed on PATH"
)


def _run(*command: str, directory: Path) -> str:
    done = subprocess.run(command, check=False, cwd=directory, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _receivers(*labels: str) -> list[str]:
    """Who gets an alert with these labels, by the routes that we ship."""
    path = _ALERTMANAGER / "alertmanager.yml"
    command = ["amtool", "config", "routes", "test", f"--config.file={path}", *labels]
    return _run(*command, directory=_ALERTMANAGER).strip().split(",")


@needs_promtool
def test_prometheus_takes_our_configuration_and_every_rule_in_it() -> None:
    said = _run("promtool", "check", "config", "prometheus.yml", directory=_PROMETHEUS)
    named = {file.name for file in _PROMETHEUS.glob("*-rules.yml")}
    assert named == {"runbook-rules.yml", "runbook-schedule-rules.yml"}
    for name in named:
        assert f"Checking {name}\n  SUCCESS" in said


@needs_promtool
@pytest.mark.parametrize("file", sorted(_PROMETHEUS.glob("*-test.yml")), ids=lambda file: file.stem)
def test_the_rules_fire_when_they_should_and_not_before(file: Path) -> None:
    assert "SUCCESS" in _run("promtool", "test", "rules", file.name, directory=_PROMETHEUS)


def test_every_alert_of_ours_is_the_responders_and_is_tested() -> None:
    for rules in _PROMETHEUS.glob("*-rules.yml"):
        tested = rules.with_name(f"{rules.stem}-test.yml").read_text(encoding="utf-8")
        alerts = re.split(r"- alert: ", rules.read_text(encoding="utf-8"))[1:]
        assert alerts
        for alert in alerts:
            name = alert.split("\n", 1)[0]
            labels = re.findall(r"labels: \{(.*)\}", alert)
            if name == "Watchdog":
                assert labels == ["severity: none"]
                continue
            assert re.fullmatch(r"Runbook[A-Za-z]+", name)
            (only,) = labels
            assert re.fullmatch(r"severity: (critical|high|warning), category: responder", only)
            assert "summary: " in alert
            assert "description: " in alert
            assert f'alertname="{name}"' in tested, f"{name} is not tested"


def test_every_metric_that_a_rule_looks_at_is_one_that_the_gateway_shows() -> None:
    gateway = PROJECT / "deployments" / "gateway"
    shown = "".join(
        (gateway / name).read_text(encoding="utf-8") for name in ("metrics.py", "measuring.py")
    )
    for rules in _PROMETHEUS.glob("*-rules.yml"):
        looked_at = set(re.findall(r"\brunbook_[a-z_]+", rules.read_text(encoding="utf-8")))
        assert looked_at
        for metric in looked_at:
            name = metric.removesuffix("_bucket")
            assert f'"{name}"' in shown, f"{rules.name} looks at {metric}, which nobody shows"


@needs_amtool
def test_alertmanager_takes_our_configuration() -> None:
    said = _run("amtool", "check-config", "alertmanager.yml", directory=_ALERTMANAGER)
    assert "2 receivers" in said


@needs_amtool
@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        (["alertname=DatabaseDown", "severity=critical"], ["person", "runbook"]),
        (["alertname=X", "severity=critical", "category=audit"], ["person", "runbook"]),
        (["alertname=X", "severity=critical", "category=responder"], ["person", "runbook"]),
        (["alertname=X", "severity=warning", "category=responder"], ["person", "runbook"]),
        (["alertname=RedisDown", "severity=high"], ["runbook"]),
        (["alertname=WithoutSeverity"], ["runbook"]),
        (["alertname=Watchdog", "severity=none"], ["runbook"]),
    ],
)
def test_every_alert_reaches_the_gateway_and_a_critical_one_a_person_too(
    labels: list[str], receivers: list[str]
) -> None:
    assert _receivers(*labels) == receivers


@needs_amtool
def test_no_alert_of_ours_depends_on_the_gateway_alone() -> None:
    for rules in _PROMETHEUS.glob("*-rules.yml"):
        text = rules.read_text(encoding="utf-8")
        for severity in set(re.findall(r"severity: (\w+), category: responder", text)):
            assert "person" in _receivers(f"severity={severity}", "category=responder")


def test_as_many_alerts_as_we_allow_fit_into_the_body_that_the_gateway_takes() -> None:
    text = (_ALERTMANAGER / "alertmanager.yml").read_text(encoding="utf-8")
    (most,) = re.findall(r"max_alerts: (\d+)", text)
    limit = GatewaySettings.model_fields["body_limit_bytes"].default
    assert 0 < int(most) * _ALERT_BYTES <= limit


def test_the_lab_has_productions_rules() -> None:
    assert prometheus.OWN_RULES == _PROMETHEUS / "runbook-rules.yml"
    assert prometheus.OWN_RULES.is_file()
