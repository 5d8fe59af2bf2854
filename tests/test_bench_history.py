"""bench.json: kept, compared and shown; what is slower is named, what is no history refused."""

import re
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from deployments.lab.environment import PROJECT
from tests.benchmarks import history, table
from tests.benchmarks.figures import RECORDED, Row, Sense, beside, show
from tests.benchmarks.history import HistoryError, Run

RUN = Run("2026-03-14T03:00:00+00:00", "abc1234", "AMD EPYC", 2, 24, "3.11.7", "sha-ni", 0.1, ())


def run(*rows: Row, cpu: str = RUN.cpu) -> Run:
    return replace(RUN, rows=rows, cpu=cpu)


def ratio(value: float) -> Row:
    return beside("verify", value, "openssl", 1.0, 1.5)


def rate(value: float) -> Row:
    return Row("intake", value, 800, Sense.LEAST, unit="/s")


@pytest.fixture
def _nothing_recorded():
    kept = list(RECORDED.rows)
    yield
    RECORDED.rows[:] = kept


@pytest.mark.usefixtures("_nothing_recorded")
def test_a_row_beyond_its_limit_is_kept_and_named():
    with pytest.raises(AssertionError, match=r"verify .* 1\.60"):
        show([ratio(1.6), rate(900)])
    assert RECORDED.rows[-2:] == [ratio(1.6), rate(900)]


@pytest.mark.parametrize(
    ("row", "holds"),
    [
        (ratio(1.5), True),
        (ratio(1.51), False),
        (rate(800), True),
        (rate(799), False),
        (Row("w", 2.0, 2.0), True),
        (Row("w", 2.1, 2.0), False),
        (Row("w", 1.0, 2.0, Sense.RATIO), False),
    ],
)
def test_limits_are_of_the_ratio_at_most_or_at_least(row, holds):
    assert row.holds is holds


def test_what_is_more_than_a_fifth_slower_is_named_with_then_and_now():
    before = [run(ratio(1.0)), run(ratio(1.1)), run(ratio(1.2))]
    assert history.regressions(run(ratio(1.3)), before) == []
    (said,) = history.regressions(run(ratio(1.5)), before)
    assert said == "verify: ratio was 1.1, is 1.5, 36% worse"


def test_a_lower_rate_is_a_regression_and_a_higher_one_none():
    before = [run(rate(1000))]
    assert history.regressions(run(rate(5000)), before) == []
    assert "intake: /s was 1e+03, is 700, 43% worse" in history.regressions(run(rate(700)), before)


def test_bare_figures_of_another_processor_are_not_compared_but_ratios_are():
    before = [run(ratio(1.0), rate(1000), cpu="another")]
    (said,) = history.regressions(run(ratio(2.0), rate(10)), before)
    assert said.startswith("verify")


def test_only_the_last_five_count_and_a_new_row_has_nothing_to_be_compared_with():
    old = [run(ratio(0.1))] * 9 + [run(ratio(1.0))] * 5
    assert history.regressions(run(ratio(1.1)), old) == []
    assert history.regressions(run(ratio(1.1)), []) == []


def test_the_file_keeps_the_newest_runs_a_row_a_line(tmp_path):
    file = tmp_path / "bench.json"
    runs = [replace(RUN, commit=str(at), rows=(ratio(at), rate(at))) for at in range(30)]
    history.write(runs, file)
    kept = history.read(file.read_text())
    assert [each.commit for each in kept] == [str(at) for at in range(10, 30)]
    assert kept == runs[10:]
    assert len(file.read_text().splitlines()) == 2 + 20 * 4


@given(text=st.text(max_size=40))
def test_what_is_no_history_is_refused(text):
    assume(text.strip() != "[]")
    with pytest.raises(HistoryError, match=r"git checkout bench\.json"):
        history.read(text)


@pytest.mark.parametrize(
    "text",
    ["[{}]", '[{"rows": 1}]', '[{"rows": [{"work": 1}]}]', "{}", '[{"rows": []}]', "null"],
)
def test_a_history_of_another_shape_is_refused(text):
    with pytest.raises(HistoryError):
        history.read(text)


def test_a_figure_that_is_no_number_is_refused(tmp_path):
    file = tmp_path / "bench.json"
    history.write([run(ratio(1.5))], file)
    text = re.sub(r'"load": [0-9.]+', '"load": NaN', file.read_text())
    assert "NaN" in text
    with pytest.raises(HistoryError, match="NaN"):
        history.read(text)


def test_the_table_marks_what_is_missed():
    lines = history.table([ratio(1.6), rate(900)]).splitlines()
    assert lines[1].endswith("MISSED")
    assert not lines[2].endswith("MISSED")
    assert "(missed)" in history.markdown([run(ratio(1.6))])


def test_what_was_measured_without_our_c_stands_apart_and_replaces_nothing():
    plain = replace(run(ratio(12.0)), kernel="hashlib")
    runs = [run(ratio(1.4)), plain]
    with_c, _, without = history.markdown(runs).partition("Where no C compiler was")
    assert "1.40" in with_c
    assert "12.00" not in with_c
    assert "12.00" in without
    assert history.regressions(plain, runs[:1]) == []


def test_a_row_is_kept_until_it_is_measured_again(tmp_path):
    file = tmp_path / "bench.json"
    later = [run(ratio(1.0 + at / 1000)) for at in range(history.MOST_RUNS + 3)]
    history.write([run(rate(900), ratio(1.4)), run(ratio(1.3)), *later], file)
    kept = history.read(file.read_text("utf-8"))
    assert [len(each.rows) for each in kept] == [2] + [1] * history.MOST_RUNS
    assert rate(900) in kept[0].rows


def test_the_readme_shows_what_bench_json_says():
    runs = history.read(history.FILE.read_text("utf-8"))
    text = table.README.read_text("utf-8")
    assert table.filled(text, history.markdown(runs)) == text, "run make bench-table"


def test_a_readme_without_marks_is_left_alone():
    with pytest.raises(SystemExit, match="found neither"):
        table.filled("no marks", "table")
    assert (PROJECT / "README.md").exists()
