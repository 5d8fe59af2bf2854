"""What people are told when a form was not taken, and that their words are not lost."""

import re
import socket
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlsplit

import httpx
import pytest

from deployments.gateway.app import build_app
from deployments.gateway.body_guard import BODY_LIMIT, BodyGuard
from tasks.settings import settings
from tasks.work import people, responder
from tests.gateway import page_stories as stories
from tests.gateway.browsers import Browser, Forms
from tests.gateway.stack import served

pytestmark = pytest.mark.components

LogIn = Callable[[str, str], Browser]
People = Callable[[str, str], httpx.Client]
LIMIT = 2000
NAMELESS = b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n"
BROKEN = b'--b\r\nContent-Disposition: form-data; name="token"\r\nx'


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Takes our database away."""

    def take_away() -> None:
        monkeypatch.setenv("RUNBOOK_RESPONDER__DSN", "postgresql://127.0.0.1:1/none")
        settings.cache_clear()
        responder.close()

    return take_away


@pytest.mark.parametrize(
    "how",
    [
        {"files": {"token": ("t", b"x")}},
        {"content": NAMELESS, "headers": {"Content-Type": "multipart/form-data; boundary=b"}},
        {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}},
    ],
    ids=["file", "nameless", "no boundary"],
)
def test_login_that_is_no_form_is_a_page_with_400(gateway: str, how: dict[str, object]) -> None:
    own = {"Origin": gateway, "Accept": "text/html"}
    headers = own | dict(how.pop("headers", {}))
    answer = httpx.post(f"{gateway}/login", headers=headers, **how)
    assert answer.status_code == 400
    assert "<h1>Not understood</h1>" in answer.text
    assert 'href="/login"' in answer.text


@pytest.mark.parametrize("body", [NAMELESS, BROKEN])
def test_form_that_cannot_be_read_is_a_page_too(log_in: LogIn, body: bytes) -> None:
    incident = stories.opened()
    bea = log_in("bea", "approver")
    csrf = Forms.on(bea.get(f"/i/{incident}").text)["/logout"]["csrf"]
    headers = {"Content-Type": "multipart/form-data; boundary=b", "X-CSRF-Token": csrf}
    answer = bea.client.post(f"/i/{incident}/note", content=body, headers=headers)
    assert answer.status_code in {400, 422}
    assert "text/html" in answer.headers["Content-Type"]
    assert len(stories.state_of(incident).facts) == 1


@pytest.mark.parametrize("letter", ["€", "😀"])
def test_note_of_two_thousand_wide_letters_is_taken(log_in: LogIn, letter: str) -> None:
    incident = stories.opened()
    bea = log_in("bea", "approver")
    answer = bea.send(f"/i/{incident}", f"/i/{incident}/note", text=letter * LIMIT)
    assert answer.status_code == 303, answer.text
    assert stories.state_of(incident).facts[-1].data["text"] == letter * LIMIT


def test_form_that_is_too_long_is_told_in_a_page(log_in: LogIn) -> None:
    incident = stories.opened()
    bea = log_in("bea", "approver")
    answer = bea.send(f"/i/{incident}", f"/i/{incident}/note", text="x" * BODY_LIMIT)
    assert answer.status_code == 413
    assert "<h1>That is too long</h1>" in answer.text
    assert "Nothing was recorded" in answer.text
    assert f'href="/i/{incident}"' in answer.text


@pytest.mark.usefixtures("database")
def test_form_that_drips_is_told_in_a_page() -> None:
    token = people.add_person("rosa", "responder", timedelta(hours=1))
    with served(BodyGuard(build_app(), body_seconds=0.3)) as url:
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port), timeout=20) as slow:
            slow.sendall(
                f"POST /i/INC-1/note HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
                "Accept: text/html\r\nContent-Length: 100\r\n\r\ntext=".encode()
            )
            answer = b""
            while b"</html>" not in answer:
                answer += slow.recv(65536)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"Nothing was recorded" in answer
    assert b'href="/i/INC-1"' in answer


def test_words_are_shown_again_while_our_database_is_away(
    log_in: LogIn, away: Callable[[], None]
) -> None:
    incident = stories.opened()
    bea = log_in("bea", "approver")
    form = Forms.on(bea.get(f"/i/{incident}").text)[f"/i/{incident}/note"]
    away()
    answer = bea.client.post(f"/i/{incident}/note", data=form | {"text": "an <hour> of thought"})
    assert answer.status_code == 503
    assert "an &lt;hour&gt; of thought" in answer.text
    assert "Nothing was recorded" in answer.text
    assert form["csrf"] not in answer.text
    assert f'href="/i/{incident}"' in answer.text


def test_programs_hear_of_the_outage_before_their_body_is_read(
    person: People, away: Callable[[], None]
) -> None:
    bea = person("bea", "approver")
    away()
    answer = bea.post("/incidents/INC-1/notes", json={"text": "t"})
    assert (answer.status_code, answer.json()["error"]) == (503, "unavailable")


@pytest.mark.parametrize(
    ("page", "fields"),
    [
        ("/declare", {"title": "t", "component": "../x", "procedure": "triage", "severity": "P1"}),
        ("/hold", {"hours": "4"}),
    ],
)
def test_back_leads_to_the_form_that_was_refused(
    log_in: LogIn, page: str, fields: dict[str, str]
) -> None:
    answer = log_in("bea", "approver").send(page, page, **fields, reason=" ")
    assert answer.status_code == 422
    assert re.search(rf'<a class="button" href="{page}">Back</a>', answer.text)
    assert 'class="said"' not in answer.text  # it is no good news


def test_every_answer_says_that_nobody_keeps_it_or_guesses_what_it_is(
    gateway: str, person: People
) -> None:
    incident = stories.opened()
    vera = person("vera", "viewer")
    answers = [
        vera.get("/incidents"),
        vera.get(f"/incidents/{incident}"),
        vera.get("/metrics"),
        vera.get("/nowhere"),
        vera.post("/incidents", json={}),
        httpx.get(f"{gateway}/incidents"),
        httpx.post(f"{gateway}/incidents"),
        httpx.post(f"{gateway}/alerts"),
        httpx.get(f"{gateway}/healthz"),
    ]
    for answer in answers:
        assert answer.headers.get_list("Cache-Control") == ["no-store"], answer.url
        assert answer.headers.get_list("X-Content-Type-Options") == ["nosniff"], answer.url


def test_what_may_be_kept_is_kept_still(gateway: str) -> None:
    page = httpx.get(f"{gateway}/login").text
    address = re.search(r'href="(/static/[^"]*)"', page)
    assert address is not None
    kept = httpx.get(gateway + address[1]).headers.get_list("Cache-Control")
    assert kept == ["public, max-age=31536000, immutable"]
