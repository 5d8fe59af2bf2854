"""PING of the real Valkey, and of what is none."""

import socket
import time

import pytest
from pydantic import SecretStr

from deployments.lab.stack import Lab
from tasks.clients import cache
from tasks.clients.errors import ClientError, Denied, Malformed, Transient
from tasks.sections.systems import CacheSettings
from tests.clients.loopback import answering, sending

PASSWORD = "geheim-und-lang"


def at(port: int, password: str = PASSWORD, timeout_seconds: float = 2.0) -> CacheSettings:
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    return CacheSettings(url=SecretStr(url), timeout_seconds=timeout_seconds)


@pytest.mark.components
def test_the_labs_cache_answers_in_less_than_its_time_out(patient: Lab) -> None:
    found = cache.ping(CacheSettings(url=SecretStr(patient.cache.url)))
    assert 0 < found < 5


@pytest.mark.components
@pytest.mark.parametrize("user", ["", "nobody"])
def test_a_wrong_password_is_denied_and_not_shown(patient: Lab, user: str) -> None:
    url = f"redis://{user}:{PASSWORD}@127.0.0.1:{patient.cache.port}/0"
    with pytest.raises(Denied) as error:
        cache.ping(CacheSettings(url=SecretStr(url)))
    assert PASSWORD not in str(error.value)


@pytest.mark.components
def test_no_password_at_all_is_denied(patient: Lab) -> None:
    url = f"redis://127.0.0.1:{patient.cache.port}/0"
    with pytest.raises(Denied):
        cache.ping(CacheSettings(url=SecretStr(url)))


def test_a_dead_port_is_transient_at_once_and_not_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(Transient, match="ConnectionError"):
        cache.ping(at(port))
    assert time.monotonic() - began < 0.5


def test_a_server_that_hangs_fails_at_the_time_out() -> None:
    with answering(lambda _: time.sleep(3)) as port:
        began = time.monotonic()
        with pytest.raises(Transient, match="TimeoutError"):
            cache.ping(at(port, timeout_seconds=0.5))
        assert 0.4 < time.monotonic() - began < 0.5 + 0.5


@pytest.mark.parametrize(
    ("answer", "ours"),
    [
        (b"", Transient),
        (b"-LOADING Redis is loading the dataset in memory\r\n", Transient),
        (b"-NOAUTH Authentication required.\r\n", Denied),
        (b"-WRONGPASS invalid username-password pair\r\n", Denied),
        (b"-NOPERM this user has no permissions\r\n", Denied),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Malformed),
        (b"*1\r\n" * 5000, Malformed),
    ],
    ids=["closes", "loading", "no password", "wrong", "no permission", "HTTP", "nested"],
)
def test_what_the_other_side_says_becomes_our_error(answer: bytes, ours: type[ClientError]) -> None:
    with answering(sending(answer)) as port, pytest.raises(ours) as error:
        cache.ping(at(port))
    assert type(error.value) is ours
    assert PASSWORD not in str(error.value)


@pytest.mark.parametrize("url", ["", "nonsense", "http://127.0.0.1/", "redis://127.0.0.1:port/"])
def test_a_setting_that_is_no_redis_url_is_malformed(url: str) -> None:
    with pytest.raises(Malformed, match="redis://"):
        cache.ping(CacheSettings(url=SecretStr(url)))
