"""What a log line must never hold, wherever it comes from."""

import io
import logging
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from deployments.gateway.log import JsonLines
from tasks.domain.redaction import REDACTED, Redactor
from tasks.sections.house import ChatSettings, GatewaySettings
from tasks.settings import Settings
from tasks.work.redaction import redact_all_logs, secrets_of

SEEDED = "hunter2-canary-token"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What a logger of ours writes, with redaction on."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonLines(Redactor([SEEDED])))
    logger = logging.getLogger("redaction-test")
    logger.addHandler(handler)
    before = logging.getLogRecordFactory()
    redact_all_logs(Redactor([SEEDED]))
    yield written
    logging.setLogRecordFactory(before)
    logger.removeHandler(handler)


def test_every_secret_of_the_settings_is_known() -> None:
    settings = Settings(
        chat=ChatSettings(token=SecretStr("xoxb-one-secret")),
        gateway=GatewaySettings(alert_tokens=(SecretStr("first-token"), SecretStr("second-token"))),
    )
    assert {"xoxb-one-secret", "first-token", "second-token"} <= set(secrets_of(settings))


def test_a_secret_in_message_argument_extra_and_traceback_is_not_written(
    lines: io.StringIO,
) -> None:
    log = logging.getLogger("redaction-test")
    log.warning("with %s", f"the value {SEEDED}")
    log.warning("reason", extra={"reason": f"because of {SEEDED}"})
    try:
        int(f"no number: {SEEDED}")
    except ValueError:
        log.exception("failed")
    assert SEEDED not in lines.getvalue()
    assert lines.getvalue().count(REDACTED) >= 3


def test_a_message_that_does_not_fit_its_arguments_does_not_stop_the_caller(
    lines: io.StringIO,
) -> None:
    log = logging.getLogger("redaction-test")
    log.propagate = False  # pytest's own handler raises what others only report
    log.warning("%d things", "x")
    log.warning("and on")
    log.propagate = True
    assert "and on" in lines.getvalue()


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Authorization: Bearer abcdef123456", "Authorization: Bearer [redacted]"),
        ("postgresql://anna:pass@db:5432/x", "postgresql://anna:[redacted]@db:5432/x"),
        ("password=abc host=db", "password=[redacted] host=db"),
        ('{"token": "abc", "n": 1}', '{"token": [redacted], "n": 1}'),
        ("sent with xoxb-123456-abcdef", "sent with [redacted]"),
        ("PRIVATE+KEY+name+0011+AAAA", "[redacted]"),
        (
            "-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY-----",
            "[redacted]",
        ),
        ("three tokens were rotated", "three tokens were rotated"),
    ],
)
def test_what_looks_like_a_credential_goes_and_the_rest_stays(text: str, kept: str) -> None:
    assert Redactor()(text) == kept


@given(st.text(), st.text(), st.text(alphabet="abcdefghij", min_size=6, max_size=20))
def test_a_known_secret_never_survives(before: str, after: str, secret: str) -> None:
    assert secret not in Redactor([secret])(f"{before}{secret}{after}")


def test_a_secret_that_contains_another_leaves_nothing_behind() -> None:
    assert Redactor(["abcdef", "abcdefghi"])("x abcdefghi y") == f"x {REDACTED} y"


def test_a_hostile_line_of_a_megabyte_is_redacted_in_a_moment() -> None:
    hostile = "a://b:" * 40_000 + "-----BEGIN PRIVATE KEY-----" * 20_000 + "token= " * 40_000
    began = time.perf_counter()
    Redactor([SEEDED])(hostile)
    assert time.perf_counter() - began < 5


def test_half_a_character_does_not_stop_who_logs_it() -> None:
    broken = b"password=hunter2 \xff".decode(errors="surrogateescape")
    assert Redactor()(broken) == f"password={REDACTED} ?"
