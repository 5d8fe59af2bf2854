"""Who is the trouble, and who only suffers from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.dependencies import (
    BAD,
    SERVED,
    Dependencies,
    Role,
    healths_of,
    in_words,
    overall,
)
from tasks.domain.errors import BadInput
from tasks.domain.observation import Health, Observation

WELL = dict.fromkeys(SERVED.needs, Health.HEALTHY)


def parts(**bad: Health) -> dict[str, tuple[Role, tuple[str, ...]]]:
    found = SERVED.affected({**WELL, **{name.replace("_", "-"): how for name, how in bad.items()}})
    return {each.component: (each.role, each.because) for each in found}


def test_a_database_that_is_down_explains_errors_of_the_api() -> None:
    found = parts(database=Health.FAILED, api=Health.FAILED)
    assert found["database"] == (Role.ORIGIN, ())
    assert found["api"] == (Role.EXPLAINED, ("database",))
    assert found["privacy-engine"] == (Role.AT_RISK, ("database",))
    assert found["cache"] == (Role.WELL, ())


def test_a_cache_that_is_down_explains_a_queue_that_grows_and_its_workers() -> None:
    found = parts(cache=Health.FAILED, queue=Health.DEGRADED, workers=Health.DEGRADED)
    assert found["queue"] == found["workers"] == (Role.EXPLAINED, ("cache",))


def test_two_faults_at_once_both_count() -> None:
    found = parts(cache=Health.FAILED, database=Health.FAILED, api=Health.FAILED)
    assert found["api"] == (Role.EXPLAINED, ("cache", "database"))
    assert {name for name, part in found.items() if part[0] is Role.ORIGIN} == {"cache", "database"}


def test_an_api_that_fails_alone_is_the_origin() -> None:
    assert parts(api=Health.FAILED)["api"] == (Role.ORIGIN, ())


def test_what_nobody_could_look_at_is_no_proof_that_a_component_fails_by_itself() -> None:
    found = SERVED.affected({**WELL, "api": Health.FAILED, "database": Health.UNKNOWN})
    (api,) = (each for each in found if each.component == "api")
    assert (api.role, api.unseen) == (Role.SUSPECT, ("database",))
    assert in_words(found) == "api failed (database unknown); unknown: database"


def test_nothing_seen_at_all_is_unknown_and_not_healthy() -> None:
    found = SERVED.affected({})
    assert {each.role for each in found} == {Role.UNKNOWN}
    assert overall(found) is Health.UNKNOWN


def test_the_order_and_the_words_begin_with_the_origin() -> None:
    found = SERVED.affected({**WELL, "database": Health.FAILED, "api": Health.DEGRADED})
    assert found[0].component == "database"
    assert in_words(found).startswith("database failed; api suffers from database; ")
    assert overall(found) is Health.FAILED
    assert in_words(SERVED.affected(WELL)) == "no component is affected"


def test_of_several_looks_at_one_component_the_worst_counts() -> None:
    def seen(health: Health) -> Observation:
        return Observation("triage.x", "api", health, "", 0.0)

    order = [Health.UNKNOWN, Health.HEALTHY, Health.DEGRADED, Health.FAILED]
    for place, health in enumerate(order):
        assert healths_of(map(seen, order[: place + 1]))["api"] is health
        assert healths_of(map(seen, reversed(order[: place + 1])))["api"] is health


@pytest.mark.parametrize(
    ("needs", "says"),
    [
        ({"a": ["a"]}, "a -> a"),
        ({"a": ["b"], "b": ["c"], "c": ["b"]}, "b -> c -> b"),
        ({"a": ["x"]}, "'x'"),
        ({str(place): [] for place in range(201)}, "201"),
    ],
)
def test_a_cycle_and_what_is_not_named_are_refused(needs: dict[str, list[str]], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        Dependencies.of(needs)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Dependencies, dict[str, Health]]:
    names = [f"c{place}" for place in range(draw(st.integers(1, 8)))]
    needs = {
        name: draw(st.sets(st.sampled_from(names[:place]))) if place else set()
        for place, name in enumerate(names)
    }
    healths = draw(st.dictionaries(st.sampled_from(names), st.sampled_from(list(Health))))
    return Dependencies.of(needs), healths


@given(graphs())
def test_every_bad_component_is_an_origin_a_suspect_or_explained_by_one(
    drawn: tuple[Dependencies, dict[str, Health]],
) -> None:
    graph, healths = drawn
    found = {each.component: each for each in graph.affected(healths)}
    assert set(found) == set(graph.needs)
    for each in found.values():
        assert each.health is healths.get(each.component, Health.UNKNOWN)
        assert (each.health in BAD) == (each.role in {Role.ORIGIN, Role.SUSPECT, Role.EXPLAINED})
        for root in each.because:
            assert found[root].role in {Role.ORIGIN, Role.SUSPECT}
            assert root in graph.behind(each.component)
        if each.role is Role.ORIGIN:
            assert all(
                found[name].health is Health.HEALTHY for name in graph.behind(each.component)
            )
