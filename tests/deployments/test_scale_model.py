"""SCALE.md: its tables are what the model says, and the model answers as it should."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from deployments.scale_model import (
    PAGE,
    Assumptions,
    cost_of_store,
    cost_of_table,
    main,
    rates_of,
    tables,
    written,
)
from tasks.domain.errors import BadInput

GIVEN = Assumptions()


def test_the_page_holds_what_the_model_says_today():
    page = PAGE.read_text(encoding="utf-8")
    assert page == written(page, tables(GIVEN)), "python -m deployments.scale_model --write"


def test_a_page_without_its_markers_is_refused():
    with pytest.raises(BadInput, match="expected the markers"):
        written("no markers", "text")


def test_requests_are_most_of_the_price_of_the_sealed_log():
    cost, _ = cost_of_store(GIVEN, GIVEN.records, 8)
    assert cost.gets > GIVEN.records / 256
    assert cost.gets / 1000 * GIVEN.price_per_1000_gets > cost.dollars * 0.9


def test_the_tables_server_bounds_what_workers_can_do():
    few, _ = cost_of_table(GIVEN, GIVEN.records, 16, GIVEN.table_rate)
    many, _ = cost_of_table(GIVEN, GIVEN.records, 64, GIVEN.table_rate)
    assert many.seconds == pytest.approx(few.seconds, rel=0.01)
    assert many.dollars > few.dollars


def test_rates_come_from_the_benchmarks_where_they_were_made(tmp_path):
    bench = tmp_path / "bench.json"
    rows = [
        {"work": "verify 2,000,000 records", "ours": 2.0},
        {"work": "verify 2,000,000 records, two workers", "ours": 1.0},
        {"work": "verify a table of 50,000 records, one connection", "ours": 0.5},
    ]
    bench.write_text(json.dumps([{"rows": rows}]))
    expected = replace(GIVEN, store_rate=1_000_000.0, table_rate=100_000.0)
    assert rates_of(bench, GIVEN) == expected
    for wrong in ("", "{", '[{"work": 1}]', '[{"rows": [{"work": 1}]}]', "[3]"):
        bench.write_text(wrong)
        with pytest.raises(BadInput, match="make bench"):
            rates_of(bench, GIVEN)


def test_the_command_takes_assumptions_and_names_those_it_does_not_know():
    shown = CliRunner().invoke(main, ["--workers", "1", "--set", "request_ms=5"])
    assert shown.exit_code == 0, shown.output
    assert "| request_ms | 5.0 |" in shown.output
    for wrong in ("latency=5", "request_ms=much", "store_rate=0", "workers=-1", "store_rate=nan"):
        refused = CliRunner().invoke(main, ["--set", wrong])
        assert refused.exit_code == 2, wrong
        assert "expected NAME=NUMBER" in refused.output
