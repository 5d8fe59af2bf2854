"""What a collection consists of: nothing is left out in silence, what is written is read back."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tasks.domain.bag_seal import BagSeal
from tasks.domain.collection import (
    Collected,
    Collection,
    Part,
    Skipped,
    Volatility,
    in_order,
    read_collection,
    unaccounted,
)
from tasks.domain.custody import CustodyHead
from tasks.domain.errors import BadInput
from tasks.domain.ledger import NoteSigner
from tasks.domain.pod_images import images_of

AT = datetime(2026, 11, 22, 3, 12, tzinfo=UTC)
ITEM = Collected(
    id="database.dump",
    title="Dump",
    wanted="database.dump",
    source="reader@db",
    tool="pg_dump",
    version="18.6",
    arguments=("--format=custom",),
    begun=AT,
    ended=AT + timedelta(seconds=3),
    plain_sha256="a" * 64,
    plain_size=10,
    path="data/items/database.dump/payload.age",
    sha256="b" * 64,
    size=210,
    encrypted=True,
)
PARTS = some.lists(
    some.builds(
        Part,
        id=some.integers(0, 99).map("part-{}".format),
        title=some.just("x"),
        volatility=some.sampled_from(Volatility),
    ),
    unique_by=lambda each: each.id,
)
SIGNER = NoteSigner.from_seed("responder.lab", b"r" * 32)
SEAL = BagSeal("INC-1", "7", "a" * 64, "b" * 64, CustodyHead(6, "c" * 64), SIGNER.verifier.encoded)


@given(PARTS)
def test_the_most_volatile_comes_first_and_equals_keep_their_order(parts: list[Part]) -> None:
    ordered = in_order(parts)
    places = [(each.volatility, parts.index(each)) for each in ordered]
    assert places == sorted(places)
    assert set(ordered) == set(parts)


@given(PARTS, some.data())
def test_every_wanted_part_was_collected_or_skipped_or_it_is_named(
    parts: list[Part], data: some.DataObject
) -> None:
    ends = data.draw(some.lists(some.sampled_from("csn"), min_size=len(parts), max_size=len(parts)))
    pairs = list(zip(parts, ends, strict=True))
    had = [replace(ITEM, wanted=part.id) for part, end in pairs if end == "c"]
    skipped = [Skipped(part.id, "x", "away") for part, end in pairs if end == "s"]
    assert unaccounted(parts, had, skipped) == [part.id for part, end in pairs if end == "n"]


def test_a_collection_with_a_part_that_has_no_end_is_not_written() -> None:
    wanted = (Part("a", "A", Volatility.DISK), Part("b", "B", Volatility.DISK))
    made = Collection("I", "1", "breach", AT, AT, (), wanted, (), (Skipped("a", "A", "away"),))
    with pytest.raises(BadInput, match="'b'"):
        made.as_json()
    whole = replace(made, skipped=(*made.skipped, Skipped("b", "B", "away too")))
    assert read_collection(whole.as_json()) == ((), whole.skipped)


def test_an_item_is_read_as_it_was_written() -> None:
    assert Collected.from_json(ITEM.as_json()) == ITEM


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sha256", "short"),
        ("plain_size", -1),
        ("plain_size", True),
        ("size", "10"),
        ("id", "../../etc"),
        ("path", "../../etc/passwd\0"),
        ("begun", "yesterday"),
        ("ended", "2026-11-22T03:12:00"),
        ("arguments", "x"),
        ("arguments", [1]),
        ("encrypted", "yes"),
        ("title", None),
    ],
)
def test_what_is_no_item_is_refused(field: str, value: object) -> None:
    with pytest.raises(BadInput):
        Collected.from_json({**ITEM.as_json(), field: value})


@pytest.mark.parametrize("value", [None, [], {}, {**ITEM.as_json(), "more": 1}])
def test_what_has_other_fields_is_no_item(value: object) -> None:
    with pytest.raises(BadInput):
        Collected.from_json(value)


@pytest.mark.parametrize(
    "value",
    [None, {}, {"version": "rlhf-audit-collection/v1", "collected": {}, "skipped": []}],
)
def test_what_is_no_collection_is_refused(value: object) -> None:
    with pytest.raises(BadInput):
        read_collection(value)


@pytest.mark.parametrize("name", ["", "A", "a/b", "..", "a..b", "-a", "a b", "a" * 401])
def test_a_part_whose_id_can_be_no_folder_is_refused(name: str) -> None:
    with pytest.raises(BadInput):
        Part(name, "x", Volatility.DISK)


def test_the_signed_text_is_read_as_it_was_written_and_signed_by_whom_it_names() -> None:
    assert BagSeal.read(SEAL.text) == SEAL
    assert SEAL.signed(SIGNER).startswith(SEAL.text)
    with pytest.raises(BadInput, match="expected to sign"):
        SEAL.signed(NoteSigner.from_seed("responder.lab", b"x" * 32))


@pytest.mark.parametrize("incident", ["", "two words", "a\nbag 8", "caf\u00e9"])
def test_a_name_that_would_be_another_line_is_not_signed(incident: str) -> None:
    with pytest.raises(BadInput):
        replace(SEAL, incident=incident).signed(SIGNER)


def test_every_container_has_its_image_and_digest_whatever_else_is_in_the_list() -> None:
    status = {"name": "api", "image": "api:1", "imageID": "api@sha256:ab"}
    init = {"name": "migrate", "image": "api:1", "imageID": 7}
    pod = {
        "metadata": {"name": "api-0"},
        "status": {"containerStatuses": [status], "initContainerStatuses": [init]},
    }
    odd: list[dict[str, Any]] = [{}, {"status": None}, {"status": {"containerStatuses": "x"}}]
    assert images_of([pod, *odd]) == [
        {"pod": "api-0", "container": "migrate", "image": "api:1", "digest": ""},
        {"pod": "api-0", "container": "api", "image": "api:1", "digest": "api@sha256:ab"},
    ]
