"""The simulation of shards: whole where a formula is known, and right about slow and dead ones."""

from dataclasses import replace

import pytest

from tasks.domain.shard_simulation import Load, Site, cut, simulate

RECORDS = 1_000_000.0
LOAD = Load(bytes_per_record=100.0, requests_per_record=0.0)
SITE = Site(
    workers=4,
    records_per_core=1000.0,
    worker_bytes=1e9,
    store_bytes=1e9,
    request_seconds=0.02,
    requests_at_once=10,
)


def test_even_workers_take_their_share_of_the_time():
    course = simulate(LOAD, SITE, cut(RECORDS, 4, 8))
    assert course.seconds == pytest.approx(RECORDS / 4 / 1000)
    assert course.computing == pytest.approx(1.0)
    assert (course.read_again, course.tail_seconds) == (0.0, 0.0)


def test_requests_are_waited_for_when_they_are_slower_than_hashing():
    for requests, seconds in ((0.1, 1 / 1000), (2.0, 2.0 * 0.02 / 10)):
        load = replace(LOAD, requests_per_record=requests)
        course = simulate(load, SITE, cut(RECORDS, 4, 8))
        assert course.seconds == pytest.approx(RECORDS / 4 * seconds)


def test_a_shared_store_is_waited_for_however_many_workers_there_are():
    site = replace(SITE, store_bytes=200_000.0)
    for workers in (4, 16):
        course = simulate(LOAD, replace(site, workers=workers), cut(RECORDS, workers, 8))
        assert course.seconds == pytest.approx(RECORDS * 100 / 200_000)


def test_the_last_shard_is_waited_for_and_more_stretches_make_it_shorter():
    slow = replace(SITE, slow=(0.25,))
    courses = [simulate(LOAD, slow, cut(RECORDS, 4, each)) for each in (1, 8, 64)]
    assert courses[0].seconds == pytest.approx(RECORDS / 4 / 250)
    tails = [each.tail_seconds for each in courses]
    assert tails == sorted(tails, reverse=True)
    best = RECORDS / (3000 + 250)
    assert courses[2].seconds == pytest.approx(best, rel=0.05)


def test_what_a_dead_worker_had_begun_is_read_again_by_another():
    dies = replace(SITE, deaths=((1, 100.0),))
    course = simulate(LOAD, dies, cut(RECORDS, 4, 2))
    assert course.read_again == pytest.approx(100_000.0)
    assert course.seconds > simulate(LOAD, SITE, cut(RECORDS, 4, 2)).seconds


def test_nothing_is_lost_when_all_but_one_die():
    dies = replace(SITE, deaths=((0, 10.0), (1, 20.0), (2, 30.0)))
    course = simulate(LOAD, dies, cut(RECORDS, 4, 16))
    hashed_alone = (RECORDS - 60_000 + course.read_again) / 1000
    assert course.seconds == pytest.approx(hashed_alone, abs=5.0)


def test_when_all_die_it_says_so():
    dies = replace(SITE, deaths=tuple((each, 10.0) for each in range(4)))
    with pytest.raises(ValueError, match="found none"):
        simulate(LOAD, dies, cut(RECORDS, 4, 8))
