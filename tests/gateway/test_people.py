"""Who is asking: tokens, sessions, the trusted proxy, and in which order they count."""

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from deployments.gateway.app import build_app
from tasks.domain.errors import BadInput
from tasks.domain.names import is_same_person
from tasks.settings import Settings, settings
from tasks.work import people, responder, sessions
from tasks.work.people import Person, Role
from tests.gateway.stack import served

pytestmark = [pytest.mark.components, pytest.mark.usefixtures("database")]

HOUR = timedelta(hours=1)
PROXY_SECRET = "what only the proxy and we know"
USER = "X-Forwarded-Email"


@pytest.fixture
def behind_proxy(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """The proxy, as far as a gateway that believes it can see."""
    assert database
    monkeypatch.setenv("RUNBOOK_GATEWAY__PROXY_USER_HEADER", USER)
    monkeypatch.setenv("RUNBOOK_GATEWAY__PROXY_SECRET", PROXY_SECRET)
    settings.cache_clear()
    headers = {"X-Runbook-Proxy-Secret": PROXY_SECRET}
    with served(build_app()) as url, httpx.Client(base_url=url, headers=headers) as client:
        yield client


def rows(query: str) -> list[tuple[object, ...]]:
    with responder.connection() as connection:
        return connection.execute(query).fetchall()


def status(client: httpx.Client | str, **headers: str) -> int:
    if isinstance(client, str):
        return httpx.get(f"{client}/incidents", headers=headers).status_code
    return client.get("/incidents", headers=headers).status_code


def bearing(token: str) -> str:
    return f"Bearer {token}"


# people and their tokens


def test_several_tokens_of_a_person_are_valid_at_once() -> None:
    old, new = (people.add_person("bea", "approver", HOUR) for _ in range(2))
    assert people.authenticate(old) == people.authenticate(new) == Person("bea", Role.APPROVER)


def test_a_name_in_another_spelling_is_the_person_who_is_known() -> None:
    people.add_person("Bea Meier", "approver", HOUR)
    token = people.add_person("BEA \uff2d\uff25\uff29\uff25\uff32", "approver", HOUR)
    assert people.authenticate(token) == Person("Bea Meier", Role.APPROVER)


@pytest.mark.parametrize("other", ["bi11", "B\u00edll", "BlLL"])
def test_a_name_that_looks_like_a_known_one_is_refused(other: str) -> None:
    token = people.add_person("Bill", "approver", HOUR)
    for add in (people.add_person, lambda name, role, _: people.add_proxied(name, role)):
        with pytest.raises(BadInput, match="'Bill' is known"):
            add(other, "approver", HOUR)
    assert rows("SELECT name FROM people") == [("Bill",)]
    assert people.authenticate(token) == Person("Bill", Role.APPROVER)


def test_another_role_for_a_known_name_needs_a_word_and_then_counts_for_all_tokens() -> None:
    token = people.add_person("bea", "responder", HOUR)
    with pytest.raises(BadInput, match="--change-role"):
        people.add_person("BEA", "approver", HOUR)
    assert people.authenticate(token) == Person("bea", Role.RESPONDER)
    assert rows("SELECT count(*) FROM tokens") == [(1,)]
    people.add_person("bea", "approver", HOUR, change_role=True)
    assert people.authenticate(token) == Person("bea", Role.APPROVER)


def test_a_revoked_person_is_nobody_and_keeps_name_and_role() -> None:
    tokens = [people.add_person("bea", "approver", HOUR) for _ in range(2)]
    people.add_person("bea", "approver", -HOUR)
    people.add_proxied("bea", "approver")
    carl = people.add_person("carl", "approver", HOUR)
    assert people.revoke("Bea") == 2
    assert [people.authenticate(token) for token in tokens] == [None, None]
    assert people.find_proxied("bea") is None
    assert people.authenticate(carl) is not None
    with pytest.raises(BadInput, match="--change-role"):
        people.add_person("bea", "viewer", HOUR)


def test_nobody_is_revoked_by_a_name_that_only_looks_alike() -> None:
    token = people.add_person("Bill", "approver", HOUR)
    for name in ("bi11", "dora"):
        with pytest.raises(BadInput, match="known person"):
            people.revoke(name)
    assert people.authenticate(token) is not None


def test_no_token_is_valid_for_longer_than_a_year() -> None:
    with pytest.raises(BadInput, match="365"):
        people.add_person("bea", "viewer", timedelta(days=366))


def test_the_list_shows_roles_validity_and_use_and_no_secret() -> None:
    token = people.add_person("bea", "approver", HOUR)
    people.add_proxied("dana", "privacy-officer")
    unused, dana = people.listed()
    assert (unused.name, unused.role, unused.proxied) == ("bea", Role.APPROVER, False)
    assert unused.used_at is None
    assert (dana.role, dana.proxied, dana.expires_at) == (Role.PRIVACY_OFFICER, True, None)
    people.authenticate(token)
    used = people.listed()[0]
    assert used.used_at is not None
    assert abs(datetime.now(UTC) - used.used_at) < timedelta(minutes=1)
    shown = repr(people.listed())
    assert token not in shown
    assert hashlib.sha256(token.encode()).hexdigest() not in shown


def test_use_of_a_token_is_written_at_most_once_a_minute() -> None:
    token = people.add_person("bea", "approver", HOUR)
    seen = set()
    for _ in range(3):
        people.authenticate(token)
        seen.add(people.listed()[0].used_at)
    assert len(seen) == 1


def test_look_alikes_that_are_added_at_once_are_one_person() -> None:
    together = threading.Barrier(6)

    def add(name: str) -> str:
        together.wait(timeout=30)
        try:
            people.add_person(name, "approver", HOUR)
        except BadInput:
            return ""
        return name

    with ThreadPoolExecutor(6) as pool:
        added = [name for name in pool.map(add, ["bill", "bi1l", "b1ll", "BI11"] * 3) if name]
    assert rows("SELECT count(*) FROM people") == [(1,)]
    assert len(set(added)) == 1


_SPELLINGS = st.text(st.sampled_from("annAN\u00e1\uff21 iI1lo0"), min_size=1, max_size=4)


@examples(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(_SPELLINGS, min_size=2, max_size=6))
def test_no_two_people_who_can_decide_are_one_name(names: list[str]) -> None:
    known = set()
    for name in names:
        try:
            person = people.authenticate(people.add_person(name, "approver", HOUR))
        except BadInput:
            continue
        assert person is not None
        known.add(person.name)
    ordered = sorted(known)
    pairs = [(a, b) for i, a in enumerate(ordered) for b in ordered[i + 1 :]]
    assert not [pair for pair in pairs if is_same_person(*pair)]
    with responder.connection() as connection:
        connection.execute("TRUNCATE people, tokens, sessions")


def test_people_of_the_first_layout_are_not_taken_over() -> None:
    with responder.connection() as connection:
        connection.execute("DROP TABLE sessions, tokens, people")
        connection.execute("CREATE TABLE people (token_hash bytea PRIMARY KEY, name text)")
        connection.execute("INSERT INTO people VALUES ('x', 'bea')")
    responder.migrate()
    responder.migrate()
    assert people.listed() == []
    token = people.add_person("bea", "viewer", HOUR)
    responder.migrate()
    assert people.authenticate(token) is not None


# sessions


def person_with_session() -> tuple[Person, sessions.Session]:
    person = people.authenticate(people.add_person("bea", "approver", HOUR))
    assert person is not None
    return person, sessions.begin(person)


def test_a_session_is_found_by_its_secret_until_it_is_ended() -> None:
    person, session = person_with_session()
    other = sessions.begin(person)
    assert sessions.find(session.secret) == (person, session.csrf)
    assert (session.secret == other.secret, session.csrf == other.csrf) == (False, False)
    sessions.end(session.secret)
    assert sessions.find(session.secret) is None
    assert sessions.find(other.secret) is not None


def test_only_a_hash_of_a_session_is_stored() -> None:
    _, session = person_with_session()
    ((stored,),) = rows("SELECT sessions::text FROM sessions")
    assert session.secret not in str(stored)
    assert session.csrf not in str(stored)


@pytest.mark.parametrize("secret", ["", "wrong", "\x00", "half \ud800", "x" * 10_000])
def test_an_unknown_secret_is_no_session(secret: str) -> None:
    person_with_session()
    assert sessions.find(secret) is None
    sessions.end(secret)


def test_sessions_end_with_their_time_and_are_swept_away() -> None:
    person, _ = person_with_session()
    late = sessions.begin(person, -timedelta(seconds=1))
    assert sessions.find(late.secret) is None
    sessions.begin(person)
    assert rows("SELECT count(*) FROM sessions") == [(2,)]


def test_a_session_lasts_no_longer_than_the_last_token() -> None:
    person_with_session()
    assert rows("SELECT expires_at < now() + interval '61 minutes' FROM sessions") == [(True,)]


def test_revocation_ends_sessions_for_good() -> None:
    person, session = person_with_session()
    people.revoke("bea")
    assert sessions.find(session.secret) is None
    with pytest.raises(BadInput, match="log in anew"):
        sessions.begin(person)
    people.add_person("bea", "approver", HOUR)
    assert sessions.find(session.secret) is None


def test_expiry_of_all_tokens_ends_the_session() -> None:
    _, session = person_with_session()
    with responder.connection() as connection:
        connection.execute("UPDATE tokens SET expires_at = now()")
    assert sessions.find(session.secret) is None


def test_a_changed_role_holds_for_sessions_that_have_begun() -> None:
    _, session = person_with_session()
    people.add_person("bea", "viewer", HOUR, change_role=True)
    assert sessions.find(session.secret) == (Person("bea", Role.VIEWER), session.csrf)


# the proxy


def test_the_proxys_word_counts_for_people_who_were_added_for_it(
    behind_proxy: httpx.Client,
) -> None:
    people.add_proxied("bea@example.org", "viewer")
    assert status(behind_proxy, **{USER: "BEA@example.org"}) == 200
    for spelling in ("b\u00e9a@example.org", "bea@examp1e.org"):
        answer = behind_proxy.get("/incidents", headers=[(USER, spelling.encode())])
        assert answer.status_code == 403


@pytest.mark.parametrize("name", ["carl", "bea' OR 1=1 --", "$(reboot)", "x" * 5000, "\x80"])
def test_a_person_whom_nobody_has_added_hears_how_to_be_added(
    behind_proxy: httpx.Client, name: str
) -> None:
    answer = behind_proxy.get("/incidents", headers=[(USER, name.encode("latin-1"))])
    assert answer.status_code == 403
    assert "runbook token new NAME --role ROLE --no-token" in answer.json()["next"]
    assert name[:4] not in answer.json()["next"]
    assert len(answer.json()["found"]) <= 80


def test_a_token_is_no_permission_to_come_by_the_proxy(behind_proxy: httpx.Client) -> None:
    people.add_person("bea", "approver", HOUR)
    assert status(behind_proxy, **{USER: "bea"}) == 403


@pytest.mark.parametrize("secret", [None, "", "wrong", PROXY_SECRET + "x", PROXY_SECRET[:-1]])
def test_without_the_secret_the_header_is_ignored(
    behind_proxy: httpx.Client, secret: str | None
) -> None:
    people.add_proxied("bea", "approver")
    token = people.add_person("carl", "viewer", HOUR)
    claim = {USER: "bea"} | ({"X-Runbook-Proxy-Secret": secret} if secret is not None else {})
    url = str(behind_proxy.base_url).rstrip("/")
    assert status(url, **claim) == 401
    assert status(url, **claim, Authorization=bearing(token)) == 200


def test_two_secrets_or_two_names_are_believed_nothing(behind_proxy: httpx.Client) -> None:
    people.add_proxied("bea", "viewer")
    url = f"{str(behind_proxy.base_url).rstrip('/')}/incidents"
    secret = ("X-Runbook-Proxy-Secret", PROXY_SECRET)
    assert httpx.get(url, headers=[secret, (USER, "bea")]).status_code == 200
    assert httpx.get(url, headers=[secret, secret, (USER, "bea")]).status_code == 401
    assert httpx.get(url, headers=[secret, (USER, "bea"), (USER, "bea")]).status_code == 403


def test_the_secret_alone_is_nobody(behind_proxy: httpx.Client) -> None:
    assert status(behind_proxy) == 401


def test_no_proxy_is_believed_unless_it_is_configured(gateway: str) -> None:
    people.add_proxied("bea", "viewer")
    for secret in ("", PROXY_SECRET):
        assert status(gateway, **{USER: "bea", "X-Runbook-Proxy-Secret": secret}) == 401


@pytest.mark.parametrize("secret", ["", "fifteen letters"])
def test_a_proxy_without_a_real_secret_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv("RUNBOOK_GATEWAY__PROXY_USER_HEADER", USER)
    monkeypatch.setenv("RUNBOOK_GATEWAY__PROXY_SECRET", secret)
    settings.cache_clear()
    with pytest.raises(BadInput, match="PROXY_SECRET of at least 16") as refused:
        settings()
    assert not secret or secret not in str(refused.value)
    monkeypatch.setenv("RUNBOOK_GATEWAY__PROXY_SECRET", PROXY_SECRET)
    assert PROXY_SECRET not in repr(Settings().gateway)


# which identity counts


def test_the_bearer_token_wins_over_session_and_proxy(behind_proxy: httpx.Client) -> None:
    people.add_proxied("vera", "viewer")
    _, session = person_with_session()
    anna = people.add_person("anna", "responder", HOUR)
    others = {USER: "vera", "Cookie": f"runbook_session={session.secret}"}

    def role(**headers: str) -> str:
        answer = behind_proxy.post(
            f"/incidents/INC-1/plans/{'0' * 64}/approve",
            headers={"Origin": str(behind_proxy.base_url)} | headers,
        )
        return str(answer.json().get("found", answer.json()["error"]))

    assert role(**others, Authorization=bearing(anna)) == "a responder"
    assert role(**others, Authorization=bearing("wrong")) == "none that fits"
    assert role(**others, Authorization="Bearer") == "none that fits"
    assert role(**others, Authorization=bearing("x" * 600)) == "none that fits"
    csrf = {"X-CSRF-Token": session.csrf}
    assert role(**others, **csrf) == "INC-1"  # bea, an approver, by her session
    assert role(**others, **csrf, Authorization="Basic Zm9vOmJhcg==") == "INC-1"


def test_a_session_that_has_ended_leaves_the_word_to_the_proxy(
    behind_proxy: httpx.Client,
) -> None:
    people.add_proxied("vera", "viewer")
    _, session = person_with_session()
    people.revoke("bea")
    cookie = f"runbook_session={session.secret}"
    assert status(behind_proxy, Cookie=cookie) == 401
    assert status(behind_proxy, Cookie=cookie, **{USER: "vera"}) == 200
