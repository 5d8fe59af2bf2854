"""Which logs are read first, and what a line is."""

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.log_lines import LogLine
from tasks.domain.pod_logs import LogSource, log_lines, log_sources
from tasks.domain.pods import Ended, Stage
from tests.domain.cluster_values import pods

SOURCE = LogSource("api-1", "api")


def test_a_line_has_the_kubelets_time_and_its_source() -> None:
    text = "2026-11-23T12:51:43.114123456Z GET /health 200\n"
    assert list(log_lines(SOURCE, text)) == [
        LogLine(
            "GET /health 200", datetime(2026, 11, 23, 12, 51, 43, 114123, tzinfo=UTC), "api-1/api"
        )
    ]


def test_the_process_before_is_another_source() -> None:
    (line,) = log_lines(LogSource("api-1", "api", previous=True), "2026-11-23T12:51:43Z bye\n")
    assert line.source == "api-1/api (previous)"


def test_a_line_without_a_time_is_kept_whole() -> None:
    for text in ("no time here", "2026-99-99T12:51:43Z x", "2026-11-23T12:51:43 no zone", "7 x"):
        assert list(log_lines(SOURCE, text)) == [LogLine(text, None, "api-1/api")]


@given(st.text(max_size=300))
def test_no_text_of_a_container_breaks_the_reader_or_gets_lost(text: str) -> None:
    found = list(log_lines(SOURCE, text))
    assert len(found) == sum(bool(line) for line in text.split("\n"))


def test_a_container_that_never_ran_has_no_log() -> None:
    listed = pods()
    waiting = {each.name for each in listed if each.containers[0].stage is Stage.WAITING}
    assert waiting
    assert {each.pod for each in log_sources(listed)} == {each.name for each in listed} - waiting


def test_what_crashed_is_read_first_then_what_is_not_ready_and_then_the_rest() -> None:
    well = next(each for each in pods() if each.ready)
    container = well.containers[0]
    last = Ended("Error", 1, "", None, None)
    crashed = replace(well, name="b", containers=(replace(container, last=last),))
    unready = replace(well, name="c", ready=False)
    found = [str(each) for each in log_sources([replace(well, name="a"), unready, crashed])]
    name = container.name
    assert found == [f"b/{name} (previous)", f"c/{name}", f"b/{name}", f"a/{name}"]


def test_a_container_in_its_back_off_is_read_although_it_waits() -> None:
    well = next(each for each in pods() if each.ready)
    last = Ended("OOMKilled", 137, "", None, None)
    waiting = replace(well.containers[0], stage=Stage.WAITING, last=last)
    found = log_sources([replace(well, containers=(waiting,))])
    assert [each.previous for each in found] == [True, False]
