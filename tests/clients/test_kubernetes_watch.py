"""A watch that outlives breaks, and says nothing twice and nothing that is not so."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.clients.errors import Denied, Malformed, Transient
from tasks.clients.kubernetes_api import Api
from tasks.clients.kubernetes_watch import Change, changes, deployment_changes
from tests.clients.api_replies import Asked, Replies, Reply, replying, status
from tests.domain.cluster_values import body, changed

LISTED = "DeploymentList"


@pytest.fixture
def server() -> Iterator[Replies]:
    with replying() as running:
        yield running


@pytest.fixture
def api(server: Replies, tmp_path: Path) -> Api:
    return Api(server.settings(tmp_path))


def thing(uid: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": uid, "uid": uid, "resourceVersion": str(version)}}


def listing(version: int, *items: dict[str, Any]) -> Reply:
    return 200, {
        "kind": LISTED,
        "metadata": {"resourceVersion": str(version)},
        "items": list(items),
    }


def stream(*events: tuple[str, dict[str, Any]], cut: bytes = b"") -> Reply:
    lines = [json.dumps({"type": kind, "object": value}).encode() for kind, value in events]
    return 200, b"".join(line + b"\n" for line in lines) + cut


def bookmark(version: int) -> tuple[str, dict[str, Any]]:
    return "BOOKMARK", {"metadata": {"resourceVersion": str(version)}}


def said(server: Replies, api: Api, lists: list[Reply], watches: list[Reply]) -> list[Any]:
    """What a reader sees until the server has nothing more to say; then Denied ends it."""
    ended = status(403, "Forbidden", "the test is over")

    def answer(asked: Asked) -> Reply:
        left = watches if asked.params.get("watch") else lists
        return left.pop(0) if left else ended

    server.answer = answer
    found: list[Change] = []
    with pytest.raises(Denied):
        found.extend(changes(api, api.here("deployments", group="apps"), LISTED, seconds=30))
    told = [(each.happened.value, each.value["metadata"]) for each in found]
    return [(happened, of["uid"], of["resourceVersion"]) for happened, of in told]


def test_a_watch_goes_on_from_the_last_version_after_each_break(server: Replies, api: Api) -> None:
    found = said(
        server,
        api,
        [listing(10, thing("a", 9))],
        [
            stream(("MODIFIED", thing("a", 11)), cut=b'{"type": "MODIFIED", "obj'),
            status(500, "InternalError", "etcd is away"),
            stream(("ADDED", thing("b", 12)), ("DELETED", thing("a", 13))),
        ],
    )
    assert found == [
        ("ADDED", "a", "9"),
        ("MODIFIED", "a", "11"),
        ("ADDED", "b", "12"),
        ("DELETED", "a", "13"),
    ]
    places = [each.params["resourceVersion"] for each in server.asked if "watch" in each.params]
    assert places == ["10", "11", "11", "13"]
    assert all(each.params["allowWatchBookmarks"] == "true" for each in server.asked[1:])


def test_a_bookmark_moves_the_place_and_is_not_said(server: Replies, api: Api) -> None:
    found = said(server, api, [listing(10)], [stream(bookmark(40))])
    assert found == []
    assert server.asked[-1].params["resourceVersion"] == "40"


@pytest.mark.parametrize("how", ["status", "event"])
def test_after_410_only_what_differs_is_said_and_what_went_is_gone(
    how: str, server: Replies, api: Api
) -> None:
    expired = status(410, "Expired", "too old resource version")
    found = said(
        server,
        api,
        [
            listing(10, thing("same", 1), thing("changed", 2), thing("gone", 3)),
            listing(50, thing("same", 1), thing("changed", 44), thing("new", 45)),
        ],
        [expired if how == "status" else stream(("ERROR", expired[1]))],
    )
    assert sorted(found) == [
        ("ADDED", "changed", "2"),
        ("ADDED", "gone", "3"),
        ("ADDED", "new", "45"),
        ("ADDED", "same", "1"),
        ("DELETED", "gone", "3"),
        ("MODIFIED", "changed", "44"),
    ]
    assert server.asked[-1].params["resourceVersion"] == "50"


def test_an_error_event_that_is_a_refusal_is_raised(server: Replies, api: Api) -> None:
    assert (
        said(server, api, [listing(1)], [stream(("ERROR", status(403, "Forbidden", "no")[1]))])
        == []
    )


@pytest.mark.parametrize(
    "line",
    [
        b"<html>\n",
        b"[]\n",
        b'{"type": "ADDED"}\n',
        b'{"type": "ADDED", "object": {}}\n',
        b'{"type": "SHOUTED", "object": {"metadata": {"uid": "a", "resourceVersion": "1"}}}\n',
        b"x" * (5 * 2**20),
    ],
)
def test_a_stream_of_something_else_is_malformed(line: bytes, server: Replies, api: Api) -> None:
    server.answer = lambda asked: (200, line) if "watch" in asked.params else listing(1)
    with pytest.raises(Malformed):
        list(changes(api, api.here("deployments", group="apps"), LISTED, seconds=5))


def test_a_watch_ends_when_its_time_is_over_whatever_the_server_does(
    server: Replies, api: Api
) -> None:
    def answer(asked: Asked) -> Reply:
        if "watch" not in asked.params:
            return listing(1)
        time.sleep(0.1)
        return status(503, "ServiceUnavailable", "later")

    server.answer = answer
    began = time.monotonic()
    assert list(changes(api, api.here("deployments", group="apps"), LISTED, seconds=1)) == []
    assert 0.9 < time.monotonic() - began < 2.5
    assert len(server.asked) < 8  # it pauses between its attempts


def test_a_first_list_that_fails_is_an_error(server: Replies, api: Api) -> None:
    server.says(status(503, "ServiceUnavailable", "later"))
    with pytest.raises(Transient):
        list(changes(api, api.here("deployments", group="apps"), LISTED, seconds=5))


def test_a_deployment_is_seen_at_each_change_until_it_is_deleted(server: Replies, api: Api) -> None:
    before = body("02-deployment-rollout-progressing.json")
    after = body("03-deployment-deadline-exceeded.json")
    server.answer = lambda asked: (
        stream(("MODIFIED", after), ("DELETED", changed(after, metadata__resourceVersion="9999")))
        if "watch" in asked.params
        else listing(2426, before)
    )

    seen = list(deployment_changes(api, "rlhf-audit-trail", seconds=30))

    assert [each.resource_version for each in seen] == ["2426", "2456"]
    assert server.asked[0].params["fieldSelector"] == "metadata.name=rlhf-audit-trail"
