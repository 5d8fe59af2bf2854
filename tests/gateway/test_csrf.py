"""Browsers: how they log in and out, and that no other site speaks through them."""

import asyncio
import hmac
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from deployments.gateway.app import build_app
from tasks.domain.facts import FactKind
from tasks.settings import settings
from tasks.work import incidents, journal, people, sessions
from tests.gateway.stack import served

pytestmark = pytest.mark.components

HOUR = timedelta(hours=1)
SECRET = "what only the proxy and we know"
USER = "X-Forwarded-User"
COOKIE = "runbook_session"


class Browser:
    """What a browser does of its own accord: it keeps cookies and says where it is."""

    def __init__(self, url: str, **headers: str) -> None:
        self.url = url
        self.client = httpx.Client(base_url=url, headers=headers, timeout=30)
        self.own = {"Origin": url, "Sec-Fetch-Site": "same-origin"}

    def post(self, path: str, headers: dict[str, str] | None = None, **fields: str) -> Any:
        return self.client.post(path, data=fields, headers=self.own if headers is None else headers)

    def log_in(self, token: str, **fields: str) -> httpx.Response:
        answer: httpx.Response = self.post("/login", token=token, **fields)
        return answer

    @property
    def secret(self) -> str:
        return self.client.cookies.get(COOKIE) or ""


@pytest.fixture
def browser(gateway: str) -> Iterator[Browser]:
    opened = Browser(gateway)
    yield opened
    opened.client.close()


@pytest.fixture
def rosa(browser: Browser) -> Browser:
    """A browser in which a responder is logged in."""
    answer = browser.log_in(people.add_person("rosa", "responder", HOUR))
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    return browser


def until_limited(log_in: Callable[[], httpx.Response]) -> httpx.Response:
    """The first answer 429; a slow machine gains an attempt now and then."""
    answers = (log_in() for _ in range(100))
    return next(answer for answer in answers if answer.status_code == 429)


def csrf_of(browser: Browser) -> str:
    found = sessions.find(browser.secret)
    assert found is not None
    return found[1]


def incident() -> str:
    return incidents.declare("t", "api", "api_service", by="anna")


def is_acknowledged(name: str) -> bool:
    return any(fact.kind is FactKind.NOTE for fact in journal.read(name).facts)


# logging in and out


def test_a_login_gives_a_cookie_that_scripts_and_other_sites_do_not_get(browser: Browser) -> None:
    answer = browser.log_in(people.add_person("rosa", "responder", HOUR))
    given = answer.headers["set-cookie"]
    parts = {part.strip().lower() for part in given.split(";")[1:]}
    assert parts == {"httponly", "samesite=strict", "path=/", "max-age=43200"}
    assert browser.client.get("/incidents").status_code == 200


def test_over_https_the_cookie_is_secure_and_bound_to_the_host(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert database
    monkeypatch.setenv("RUNBOOK_GATEWAY__URL", "https://runbook.example.org")
    settings.cache_clear()
    token = people.add_person("rosa", "responder", HOUR)
    with served(build_app()) as url:
        own = {"Origin": "https://runbook.example.org"}
        answer = httpx.post(f"{url}/login", data={"token": token}, headers=own)
        name, _, secret = answer.headers["set-cookie"].split(";")[0].partition("=")
        assert name == "__Host-runbook_session"
        assert "secure" in answer.headers["set-cookie"].lower()
        seen = [
            httpx.get(f"{url}/incidents", headers={"Cookie": f"{each}={secret}"}).status_code
            for each in (name, COOKIE)
        ]
    assert seen == [200, 401]


def test_a_wrong_token_leads_back_to_the_form_and_gives_no_cookie(browser: Browser) -> None:
    for token in ("", "wrong", "x" * 1000, "\x00", "a&b=c"):
        answer = browser.log_in(token, next="/i/INC-1")
        assert answer.status_code == 303
        assert answer.headers["location"] == "/login?failed=1&next=%2Fi%2FINC-1"
        assert "set-cookie" not in answer.headers


def test_a_token_with_blanks_around_it_was_pasted(browser: Browser) -> None:
    token = people.add_person("rosa", "responder", HOUR)
    assert browser.log_in(f" {token}\r\n").headers["location"] == "/"


def test_a_login_leads_on_to_a_path_of_ours_alone(browser: Browser) -> None:
    token = people.add_person("rosa", "responder", HOUR)
    for after, to in {
        "/i/INC-1?x=1": "/i/INC-1?x=1",
        "//evil.example": "/",
        "/\\evil.example": "/",
        "https://evil.example": "/",
        "/a\r\nSet-Cookie: x=y": "/",
    }.items():
        assert browser.log_in(token, next=after).headers["location"] == to


def test_each_login_has_a_new_secret_and_ends_the_one_before(browser: Browser) -> None:
    token = people.add_person("rosa", "responder", HOUR)
    planted = people.add_person("mallory", "viewer", HOUR)
    browser.log_in(planted)
    first = browser.secret
    browser.log_in(token)
    assert browser.secret not in {"", first}
    with httpx.Client(base_url=browser.url, cookies={COOKIE: first}) as old:
        assert old.get("/incidents").status_code == 401


def test_a_secret_that_was_planted_in_the_browser_is_never_taken_over(browser: Browser) -> None:
    browser.client.cookies.set(COOKIE, "chosen-by-an-attacker")
    browser.post("/login", token=people.add_person("rosa", "responder", HOUR))
    with httpx.Client(base_url=browser.url, cookies={COOKIE: "chosen-by-an-attacker"}) as attacker:
        assert attacker.get("/incidents").status_code == 401


def test_logging_out_ends_the_session_on_our_side_too(rosa: Browser) -> None:
    secret = rosa.secret
    answer = rosa.post("/logout", csrf=csrf_of(rosa))
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert rosa.secret == ""
    with httpx.Client(base_url=rosa.url, cookies={COOKIE: secret}) as old:
        assert old.get("/incidents").status_code == 401


def test_another_site_can_neither_log_in_nor_out(rosa: Browser) -> None:
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    mallory = people.add_person("mallory", "viewer", HOUR)
    secret = rosa.secret
    assert rosa.post("/login", foreign, token=mallory).status_code == 403
    assert rosa.post("/logout", foreign, csrf=csrf_of(rosa)).status_code == 403
    assert rosa.secret == secret
    assert rosa.client.get("/incidents").status_code == 200


def test_too_many_logins_from_one_address_are_429_even_with_the_right_token(
    browser: Browser,
) -> None:
    token = people.add_person("rosa", "responder", HOUR)
    answers = [browser.log_in("wrong") for _ in range(10)]
    assert {answer.status_code for answer in answers} == {303}
    limited = until_limited(lambda: browser.log_in(token))
    assert 1 <= int(limited.headers["retry-after"]) <= 6
    assert "set-cookie" not in limited.headers


def test_a_revoked_person_is_out_at_once(rosa: Browser) -> None:
    assert rosa.client.get("/incidents").status_code == 200
    people.revoke("rosa")
    assert rosa.client.get("/incidents").status_code == 401


def test_no_other_body_than_a_tokens_length_is_read_of_a_stranger(browser: Browser) -> None:
    answer = browser.client.post("/login", content=b"token=" + b"x" * 3000, headers=browser.own)
    assert answer.status_code == 413
    multipart = {"Content-Type": "multipart/form-data; boundary=x"}
    broken = browser.client.post("/login", content=b"--x\r\n", headers=browser.own | multipart)
    assert broken.status_code in {303, 400}
    for path in ("/login/", "/Login", "//login", "/logout"):
        assert browser.client.post(path, content=b"x" * 5000).status_code == 401


# what a session may do


def test_a_form_of_our_own_page_is_taken(rosa: Browser) -> None:
    name = incident()
    answer = rosa.post(f"/incidents/{name}/acknowledge", csrf=csrf_of(rosa))
    assert answer.status_code == 200
    assert is_acknowledged(name)


def test_a_header_does_as_well_as_the_field(rosa: Browser) -> None:
    name = incident()
    headers = rosa.own | {"X-CSRF-Token": csrf_of(rosa)}
    path = f"/incidents/{name}/notes"
    assert rosa.client.post(path, json={"text": "t"}, headers=headers).status_code == 200
    assert rosa.client.post(path, json={"text": "t"}, headers=rosa.own).status_code == 403
    assert len([f for f in journal.read(name).facts if f.kind is FactKind.NOTE]) == 1


def test_without_the_sessions_own_token_nothing_is_done(rosa: Browser) -> None:
    bea = people.authenticate(people.add_person("bea", "approver", HOUR))
    assert bea is not None
    name = incident()
    path = f"/incidents/{name}/acknowledge"
    for token in ("", "wrong", "\u00e9", sessions.begin(bea).csrf):
        assert rosa.post(path, csrf=token).status_code == 403
        headers = rosa.own | {"X-CSRF-Token": token.encode("ascii", "ignore").decode()}
        assert rosa.client.post(path, headers=headers).status_code == 403
    assert not is_acknowledged(name)


_FOREIGN = [
    {},
    {"Origin": "null"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://127.0.0.1"},
    {"Origin": "http://127.0.0.1.evil.example:80"},
    {"Origin": "http://127.0.0.1:bad"},
    {"Origin": "file://"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "SAME-ORIGIN"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "OWN"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
]


def test_a_right_token_from_another_site_does_nothing(rosa: Browser) -> None:
    name, csrf = incident(), csrf_of(rosa)
    for headers in _FOREIGN:
        sent = {key: value.replace("OWN", rosa.url) for key, value in headers.items()}
        answer = rosa.post(f"/incidents/{name}/acknowledge", sent, csrf=csrf)
        assert answer.status_code == 403, headers
        assert answer.json()["error"] == "another site"
    assert not is_acknowledged(name)


def test_one_of_the_two_headers_is_enough_for_older_browsers(rosa: Browser) -> None:
    for header in ("Origin", "Sec-Fetch-Site"):
        path = f"/incidents/{incident()}/acknowledge"
        sent = {header: rosa.own[header]}
        assert rosa.post(path, sent, csrf=csrf_of(rosa)).status_code == 200


def test_the_gateways_own_address_is_an_origin_behind_a_proxy_that_rewrites_the_host(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert database
    monkeypatch.setenv("RUNBOOK_GATEWAY__URL", "http://Runbook.example.org:80")
    settings.cache_clear()
    token = people.add_person("rosa", "responder", HOUR)
    with served(build_app()) as url:
        for origin in ("http://runbook.example.org", url):
            answer = httpx.post(f"{url}/login", data={"token": token}, headers={"Origin": origin})
            assert answer.status_code == 303


def test_reading_needs_no_token_and_a_bearer_needs_none_at_all(rosa: Browser) -> None:
    assert rosa.client.get("/incidents", headers={"Origin": "https://evil"}).status_code == 200
    name = incident()
    token = people.add_person("bea", "approver", HOUR)
    answer = rosa.client.post(
        f"/incidents/{name}/acknowledge",
        headers={"Authorization": f"Bearer {token}", "Origin": "https://evil.example"},
    )
    assert (answer.status_code, answer.json()["by"]) == (200, "bea")


def test_a_role_is_looked_at_for_browsers_as_well(browser: Browser) -> None:
    browser.log_in(people.add_person("vera", "viewer", HOUR))
    name = incident()
    answer = browser.post(f"/incidents/{name}/acknowledge", csrf=csrf_of(browser))
    assert answer.status_code == 403
    assert answer.json()["found"] == "a viewer"
    assert not is_acknowledged(name)


def test_a_giant_cookie_is_nobody(browser: Browser) -> None:
    headers = {"Cookie": f"{COOKIE}={'x' * 5000}"}
    assert browser.client.get("/incidents", headers=headers).status_code == 401


# the same behind a trusted proxy


@pytest.fixture
def proxied(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    """A browser whose person the proxy names."""
    assert database
    monkeypatch.setenv("RUNBOOK_GATEWAY__PROXY_USER_HEADER", USER)
    monkeypatch.setenv("RUNBOOK_GATEWAY__PROXY_SECRET", SECRET)
    settings.cache_clear()
    people.add_proxied("rosa", "responder")
    with served(build_app()) as url:
        opened = Browser(url, **{USER: "rosa", "X-Runbook-Proxy-Secret": SECRET})
        yield opened
        opened.client.close()


def proxied_csrf(name: str) -> str:
    return hmac.new(SECRET.encode(), f"csrf {name}".encode(), "sha256").hexdigest()


def test_who_comes_by_the_proxy_needs_a_token_and_the_origin_too(proxied: Browser) -> None:
    name = incident()
    path = f"/incidents/{name}/acknowledge"
    assert proxied.client.get("/incidents").status_code == 200
    assert proxied.post(path).status_code == 403
    assert proxied.post(path, csrf=proxied_csrf("bea")).status_code == 403
    assert proxied.post(path, {}, csrf=proxied_csrf("rosa")).status_code == 403
    assert not is_acknowledged(name)
    assert proxied.post(path, csrf=proxied_csrf("rosa")).status_code == 200


def test_behind_the_proxy_logins_are_counted_by_the_browsers_own_address(
    proxied: Browser,
) -> None:
    def log_in(address: str) -> httpx.Response:
        headers = proxied.own | {"X-Forwarded-For": f"10.0.0.1, {address}"}
        answer: httpx.Response = proxied.post("/login", headers, token="wrong")
        return answer

    until_limited(lambda: log_in("192.0.2.1"))
    assert log_in("192.0.2.2").status_code == 303


@pytest.mark.usefixtures("database")
def test_without_the_proxys_secret_nobody_chooses_their_own_address() -> None:
    async def attempts() -> set[int]:
        transport = httpx.ASGITransport(build_app(), client=("198.51.100.1", 1))
        own = {"Origin": "http://gateway"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://gateway", headers=own
        ) as stranger:
            answers = [
                await stranger.post(
                    "/login", data={"token": "wrong"}, headers={"X-Forwarded-For": f"192.0.2.{n}"}
                )
                for n in range(40)
            ]
        return {answer.status_code for answer in answers}

    assert asyncio.run(attempts()) == {303, 429}


def test_a_form_without_a_login_is_answered_with_a_page_and_not_with_json(
    browser: Browser,
) -> None:
    headers = browser.own | {"Accept": "text/html,*/*"}
    answer = browser.post("/i/INC-1/note", headers, text="t")
    assert answer.status_code == 401
    assert answer.headers["content-type"].startswith("text/html")
    assert 'href="/login' in answer.text
