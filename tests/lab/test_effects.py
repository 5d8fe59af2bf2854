"""What ails the API's answers, and that its process does what the file says."""

from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from deployments.lab.audit_api import create_app
from deployments.lab.effects import NONE, Effect, Strain, shared, write_effect
from deployments.lab.errors import LabError

pytestmark = pytest.mark.components

effects = st.builds(
    Effect,
    error_share=st.floats(0, 1),
    status=st.sampled_from([500, 503]),
    detail=st.text(max_size=20),
    delay_seconds=st.floats(0, 10),
)


@given(st.lists(effects, min_size=1, max_size=8))
def test_users_have_the_mean_of_what_the_pods_do(pods: list[Effect]) -> None:
    seen = shared(pods)
    assert min(each.error_share for each in pods) - 1e-9 <= seen.error_share
    assert seen.error_share <= max(each.error_share for each in pods) + 1e-9
    assert shared([*pods, *pods]).error_share == pytest.approx(seen.error_share)


@given(effects, effects)
def test_two_ailments_are_never_better_than_one(one: Effect, other: Effect) -> None:
    both = one.and_also(other)
    assert both.error_share >= max(one.error_share, other.error_share) - 1e-9
    assert both.error_share <= 1
    assert both.delay_seconds == pytest.approx(one.delay_seconds + other.delay_seconds)
    assert one.and_also(NONE).error_share == pytest.approx(one.error_share)


@pytest.mark.parametrize("wrong", [{"error_share": 1.1}, {"delay_seconds": -1.0}])
def test_an_effect_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(LabError):
        Effect(**wrong)  # type: ignore[arg-type]  # values of the fields' own types


def test_a_changed_file_counts_from_the_next_request_on(tmp_path: Path) -> None:
    file = tmp_path / "effect.json"
    strain = Strain(file)
    assert strain.failure() is None
    write_effect(file, Effect(error_share=1.0, status=503, detail="no"))
    failure = strain.failure()
    assert failure is not None
    assert (failure.status, failure.detail) == (503, "no")
    write_effect(file, NONE)
    assert strain.failure() is None


def _app(file: Path) -> FastAPI:
    # nothing listens there: what fails by the file alone never asks the database
    dsn = "postgresql://nobody@127.0.0.1:1/none"
    return create_app(dsn, "token", "origin", effect=file, hold_seconds=0.1, access_log=True)


@pytest.mark.anyio
async def test_the_api_fails_as_it_is_told_counts_it_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "effect.json"
    write_effect(file, Effect(error_share=1.0, status=500, detail="KeyError: 'annotator_id'"))
    transport = httpx.ASGITransport(app=_app(file))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        answer = await client.get("/api/v1/audit/head", headers={"Authorization": "Bearer token"})
        metrics = (await client.get("/metrics")).text
    assert answer.status_code == 500
    counted = 'http_requests_total{endpoint="/api/v1/audit/head",method="GET",status="500"} 1.0'
    assert counted in metrics
    printed = capsys.readouterr().out
    assert "ERROR GET /api/v1/audit/head 500" in printed
    assert "KeyError: 'annotator_id'" in printed
    assert "/metrics" not in printed
