"""What Prometheus counts of a claim and of Redis, and what is made of nonsense."""

import json
from collections.abc import Mapping

import pytest

from tasks.clients.cache_state import last_counted
from tasks.clients.errors import Malformed
from tasks.clients.volume_metrics import VolumeUse, volume_use
from tasks.domain.cache_readings import LastCounted
from tasks.sections.systems import MetricsSettings
from tests.clients import loopback
from tests.clients.loopback import answering, sending

GIB = 1 << 30


def vector(values: Mapping[str, object]) -> bytes:
    found = [
        {"metric": {"reading": name}, "value": [1.0, str(value)]} for name, value in values.items()
    ]
    body = {"status": "success", "data": {"resultType": "vector", "result": found}}
    return loopback.http(200, json.dumps(body).encode())


def use(values: Mapping[str, object], claim: str = "data-postgresql-0") -> VolumeUse | None:
    with answering(sending(vector(values))) as port:
        here = MetricsSettings(prometheus_url=f"http://127.0.0.1:{port}", timeout_seconds=2)
        return volume_use(here, "rlhf-audit-trail", claim)


FULL = {"used": 18 * GIB, "capacity": 20 * GIB, "hour": 900.0, "lately": 100.0, "watched": 3600.0}


def test_the_slower_of_both_rates_counts() -> None:
    assert use(FULL) == VolumeUse(18 * GIB, 20 * GIB, 100.0, 3600.0)
    assert use(FULL | {"lately": "NaN"}) == VolumeUse(18 * GIB, 20 * GIB, 900.0, 3600.0)
    stopped = use(FULL | {"lately": 0.0})
    assert stopped is not None
    assert stopped.bytes_per_second == 0.0


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"used": 1},
        FULL | {"capacity": 0},
        FULL | {"capacity": "+Inf"},
        FULL | {"used": -1},
        FULL | {"used": 2.0**70},
        FULL | {"used": "NaN"},
    ],
)
def test_nonsense_is_nothing_counted(values: Mapping[str, object]) -> None:
    assert use(values) is None


def test_without_samples_of_a_rate_there_is_none() -> None:
    found = use({"used": 5, "capacity": 10})
    assert found == VolumeUse(5, 10, None, 0.0)


def test_without_a_prometheus_nothing_is_counted() -> None:
    nowhere = MetricsSettings(prometheus_url="")
    assert volume_use(nowhere, "ns", "claim") is None
    assert last_counted(nowhere, "celery") == LastCounted()


@pytest.mark.parametrize("claim", ['x"} or up{job="', "", "--help", "data\npostgresql", "x" * 300])
def test_a_claim_with_another_name_than_kubernetes_gives_is_never_asked_about(claim: str) -> None:
    with pytest.raises(Malformed):
        use(FULL, claim)


def test_what_was_counted_of_redis_last_is_whole_or_unknown() -> None:
    def counted(values: Mapping[str, object]) -> LastCounted:
        with answering(sending(vector(values))) as port:
            here = MetricsSettings(prometheus_url=f"http://127.0.0.1:{port}", timeout_seconds=2)
            return last_counted(here, "celery")

    assert counted({"queued": 1200, "changes": 7}) == LastCounted(1200, 7)
    assert counted({"queued": "NaN", "changes": -1}) == LastCounted()
    assert counted({}) == LastCounted()
