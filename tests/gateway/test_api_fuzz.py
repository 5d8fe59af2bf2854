"""The whole HTTP API against requests made from its own schema, valid ones and others.

A person with each role asks; whatever comes, no answer is a 500 and every one comes soon.
"""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from schemathesis import Case

from deployments.gateway.app import build_app
from tasks.work import incidents
from tests.gateway.stack import ALERT_TOKEN

pytestmark = pytest.mark.components

_APART = {"/live", "/readyz"}  # a stream has no end to wait for; 503 is a good answer there

_WEBHOOK = {
    "post": {
        "requestBody": {"content": {"application/json": {"schema": {}}}},
        "responses": {"200": {"description": "stored"}},
    }
}
"""The intake is a plain route, which FastAPI does not describe."""

_DESCRIBED = build_app().openapi()
SCHEMA = schemathesis.openapi.from_dict(
    {**_DESCRIBED, "paths": {**_DESCRIBED["paths"], "/alerts": _WEBHOOK}}
)
OPERATIONS = [
    result.ok() for result in SCHEMA.get_all_operations() if result.ok().path not in _APART
]


@pytest.fixture
def callers(gateway: str, person: Callable[[str, str], httpx.Client]) -> dict[str, dict[str, str]]:
    assert gateway
    roles = ("viewer", "responder", "approver", "privacy-officer", "security")
    tokens = {role: person(f"the {role}", role).headers["Authorization"] for role in roles}
    headers = {role: {"Authorization": token} for role, token in tokens.items()}
    return {**headers, "sender": {"Authorization": f"Bearer {ALERT_TOKEN}"}, "nobody": {}}


def names(operation: Any) -> str:
    return f"{operation.method.upper()} {operation.path}"


@pytest.mark.parametrize("operation", OPERATIONS, ids=names)
def test_no_request_is_answered_with_an_error_of_ours(
    operation: Any, gateway: str, callers: dict[str, dict[str, str]]
) -> None:
    known = incidents.declare("fuzzed", "api", "api_service", by="somebody else")

    @examples(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(), who=st.sampled_from(sorted(callers)), real=st.booleans())
    def ask(case: Case, who: str, *, real: bool) -> None:
        if real and "incident" in (case.path_parameters or {}):
            case.path_parameters["incident"] = known
        answer = case.call(base_url=gateway, headers=callers[who], allow_redirects=False)
        assert answer.status_code < 500, (answer.status_code, answer.text[:300])
        assert answer.elapsed < 10

    ask()
