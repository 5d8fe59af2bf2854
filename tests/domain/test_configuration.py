"""Which configuration a template refers to, and when it was changed."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tasks.domain.configuration import Held, Source, last_change, sources_of
from tasks.domain.errors import BadInput

SOURCE = Source(Held.CONFIG_MAP, "api-config")


def test_every_place_that_can_hold_a_reference_is_read_once() -> None:
    template: dict[str, Any] = {
        "spec": {
            "containers": [
                {
                    "envFrom": [{"configMapRef": {"name": "a"}}, {"secretRef": {"name": "b"}}],
                    "env": [
                        {"name": "X", "value": "1"},
                        {"name": "Y", "valueFrom": {"configMapKeyRef": {"name": "a", "key": "k"}}},
                        {"name": "Z", "valueFrom": {"secretKeyRef": {"name": "c", "key": "k"}}},
                    ],
                }
            ],
            "initContainers": [{"envFrom": [{"configMapRef": {"name": "d"}}]}],
            "volumes": [
                {"configMap": {"name": "e"}},
                {"secret": {"secretName": "f"}},
                {
                    "projected": {
                        "sources": [{"configMap": {"name": "g"}}, {"secret": {"name": "h"}}]
                    }
                },
                {"emptyDir": {}},
            ],
        }
    }
    assert [str(each) for each in sources_of(template)] == [
        *("ConfigMap a", "Secret b", "Secret c", "ConfigMap d", "ConfigMap e", "Secret f"),
        *("ConfigMap g", "Secret h"),
    ]
    assert sources_of({}) == ()


def test_the_last_writer_counts_and_without_any_the_creation() -> None:
    fields = [
        {"manager": "kubectl-edit", "time": "2026-11-23T12:50:00Z"},
        {"manager": "helm", "time": "2026-11-23T12:40:00Z"},
        {"manager": "timeless"},
    ]
    created = {"creationTimestamp": "2026-11-20T00:00:00Z"}
    found = last_change(SOURCE, {"metadata": created | {"managedFields": fields}})
    assert (found.who, found.at) == ("kubectl-edit", datetime(2026, 11, 23, 12, 50, tzinfo=UTC))
    assert last_change(SOURCE, {"metadata": created}).at == datetime(2026, 11, 20, tzinfo=UTC)
    assert last_change(SOURCE, {}).at is None


def test_a_writers_name_is_a_strangers_and_comes_out_printable_and_short() -> None:
    fields = [{"manager": "evil\x1b[2J" + "x" * 500, "time": "2026-11-23T12:50:00Z"}]
    who = last_change(SOURCE, {"metadata": {"managedFields": fields}}).who
    assert "\x1b" not in who
    assert len(who) <= 80


@pytest.mark.parametrize("value", [None, [], {"metadata": []}, {"metadata": {"managedFields": {}}}])
def test_nonsense_is_refused(value: object) -> None:
    with pytest.raises(BadInput):
        last_change(SOURCE, value)
