"""What verifying a billion records costs: `python -m deployments.scale_model`.

Prints the tables of SCALE.md; `--write` puts them between that page's markers. Rates come from
bench.json where `make bench` has written it, when --bench is given; prices, network and latency are
assumptions with names, to be replaced by one's own.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import click

from tasks.domain.errors import BadInput
from tasks.domain.ledger.blocks import BLOCK
from tasks.domain.shard_simulation import Course, Load, Site, cut, simulate
from tasks.work.parallel import STRETCHES_A_WORKER

PAGE = Path(__file__).parent / "SCALE.md"
BEGIN, END = "<!-- begin: python -m deployments.scale_model -->", "<!-- end -->"

_HASH = 32
_TILE = 256
_ROW = 24
"""Bytes of a row in PostgreSQL's binary format beside its line."""

_MEASURED = {
    "store_rate": re.compile("verify ([0-9,]+) records"),
    "table_rate": re.compile("verify a table of ([0-9,]+) records, one connection"),
}
"""The benchmarks' names of what they measure: one process, so many records."""

_LEAST = 1e-6
"""Of a rate, a size or a time: what divides must not be nothing."""


@dataclass(frozen=True, slots=True)
class Assumptions:
    """Inputs: `store_rate` and `table_rate` are measured (see SCALE.md), all others assumed."""

    records: int = 1_000_000_000
    workers: int = 8
    store_rate: float = 916_000.0
    table_rate: float = 395_000.0
    new_records: int = 2_740_000
    sample_share: float = 0.02
    bytes_per_record: float = 435.0
    compression: float = 4.0
    piece_bytes: float = 4 * 1024 * 1024
    worker_mb: float = 300.0
    store_mb: float = 2_000.0
    database_mb: float = 500.0
    request_ms: float = 20.0
    requests_at_once: int = 16
    price_per_1000_gets: float = 0.0004
    price_per_gb: float = 0.0
    price_per_core_hour: float = 0.05
    restored_rate: float = 150_000.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one verification of one source."""

    seconds: float
    core_hours: float
    gigabytes: float
    gets: float
    dollars: float


def cost_of_store(given: Assumptions, records: float, workers: int) -> tuple[Cost, Course]:
    """Segments and tiles of so many records."""
    tiles = 1 / _TILE + 1 / BLOCK
    stored = given.bytes_per_record / given.compression
    pieces = max(1.0, BLOCK * stored / given.piece_bytes) / BLOCK
    moved = records * (stored + _HASH * (1 + 1 / _TILE))
    site = _site(given, workers, given.store_rate, given.store_mb)
    course = simulate(Load(stored + _HASH, tiles), site, cut(records, workers, STRETCHES_A_WORKER))
    return _cost(given, course, workers, moved, records * (tiles + pieces)), course


def cost_of_table(
    given: Assumptions, records: float, workers: int, rate: float
) -> tuple[Cost, Course]:
    """Rows of the table: one server gives them to all workers."""
    row = given.bytes_per_record + _ROW
    site = _site(given, workers, rate, given.database_mb)
    course = simulate(Load(row, 0.0), site, cut(records, workers, STRETCHES_A_WORKER))
    return _cost(given, course, workers, records * row, 0.0), course


def rates_of(bench: Path, given: Assumptions) -> Assumptions:
    """The assumptions with the rates that the newest runs of `make bench` have measured.

    BadInput when the file is none of its files.
    """
    measured: dict[str, float] = {}
    try:
        for run in json.loads(bench.read_text(encoding="utf-8")):
            for row in run["rows"]:
                for name, work in _MEASURED.items():
                    if (found := work.fullmatch(row["work"])) and float(row["ours"]) > 0:
                        measured[name] = int(found[1].replace(",", "")) / float(row["ours"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"expected {bench.name} of `make bench`: {str(error)[:200]}") from error
    return replace(given, **measured)  # type: ignore[arg-type]  # the two names above, floats


def tables(given: Assumptions) -> str:
    """What stands between the markers of the page."""
    parts = [_assumed(given), _costs(given), _by_workers(given), _by_stretches(given)]
    return "\n\n".join(parts) + "\n"


def _site(given: Assumptions, workers: int, rate: float, shared_mb: float) -> Site:
    return Site(
        workers=workers,
        records_per_core=rate,
        worker_bytes=given.worker_mb * 1e6,
        store_bytes=shared_mb * 1e6,
        request_seconds=given.request_ms / 1000,
        requests_at_once=given.requests_at_once,
    )


def _cost(given: Assumptions, course: Course, workers: int, moved: float, gets: float) -> Cost:
    hours = course.seconds * workers / 3600
    gigabytes = moved / 1e9
    dollars = (
        hours * given.price_per_core_hour
        + gets / 1000 * given.price_per_1000_gets
        + gigabytes * given.price_per_gb
    )
    return Cost(course.seconds, hours, gigabytes, gets, dollars)


def _occasions(given: Assumptions) -> list[tuple[str, Cost]]:
    nightly = given.new_records + given.sample_share * given.records
    workers = given.workers
    return [
        ("nightly, sealed log", cost_of_store(given, nightly, workers)[0]),
        ("nightly, table", cost_of_table(given, nightly, workers, given.table_rate)[0]),
        ("weekly, sealed log", cost_of_store(given, given.records, workers)[0]),
        ("weekly, table", cost_of_table(given, given.records, workers, given.table_rate)[0]),
        (
            "after a full restore, table with its leaves",
            cost_of_table(given, given.records, workers, given.restored_rate)[0],
        ),
    ]


def _assumed(given: Assumptions) -> str:
    rows = [(each.name, f"{getattr(given, each.name):,}") for each in fields(given)]
    return _table(("assumption", "value"), rows)


def _costs(given: Assumptions) -> str:
    rows = [
        (
            name,
            _time(cost.seconds),
            f"{cost.core_hours:.2f}",
            f"{cost.gigabytes:,.1f}",
            f"{cost.gets:,.0f}",
            f"{cost.dollars:.2f}",
        )
        for name, cost in _occasions(given)
    ]
    return _table(("verification", "time", "core hours", "GB moved", "GETs", "$"), rows)


def _by_workers(given: Assumptions) -> str:
    rows = []
    for workers in (1, 2, 4, 8, 16, 32, 64):
        store, one = cost_of_store(given, given.records, workers)
        table, other = cost_of_table(given, given.records, workers, given.table_rate)
        told = (f"{workers}", _time(store.seconds), f"{store.dollars:.2f}", f"{one.computing:.0%}")
        rows.append((*told, _time(table.seconds), f"{table.dollars:.2f}", f"{other.computing:.0%}"))
    head = ("workers", "log, weekly", "$", "cores at work", "table, weekly", "$", "cores at work")
    return _table(head, rows)


def _by_stretches(given: Assumptions) -> str:
    """The weekly log: even, with one worker at a quarter of the speed, with one that dies."""
    stored = given.bytes_per_record / given.compression
    load = Load(stored + _HASH, 1 / _TILE + 1 / BLOCK)
    even = _site(given, given.workers, given.store_rate, given.store_mb)
    rows = []
    for stretches in (1, 2, 4, 8, 16, 32, 64):
        shards = cut(given.records, given.workers, stretches)
        plain = simulate(load, even, shards)
        slow = simulate(load, replace(even, slow=(0.25,)), shards)
        told = [f"{stretches}", _time(plain.seconds), _time(slow.seconds), _time(slow.tail_seconds)]
        if given.workers > 1:
            killed = simulate(load, replace(even, deaths=((0, plain.seconds / 3),)), shards)
            told += [_time(killed.seconds), f"{killed.read_again / 1e6:.1f}"]
        rows.append((*told, *["-"] * (6 - len(told))))
    head = (
        *("stretches a worker", "even", "one at a quarter", "others wait for it"),
        *("one dies after a third", "million records read twice"),
    )
    return _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [" | ".join(each) for each in (head, ["---"] * len(head), *rows)]
    return "\n".join(f"| {line} |" for line in lines)


def _time(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def written(page: str, text: str) -> str:
    """The page with the text between its markers; BadInput without them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise BadInput(f"expected the markers {BEGIN} and {END} in {PAGE.name}")
    return f"{before}{BEGIN}\n{text}{END}{after}"


@click.command()
@click.option("--records", type=click.FloatRange(1, 1e15), default=1e9, show_default=True)
@click.option("--workers", type=click.IntRange(1, 1024), default=8, show_default=True)
@click.option("--bench", type=click.Path(path_type=Path), help="bench.json, for measured rates.")
@click.option("--set", "named", multiple=True, metavar="NAME=NUMBER", help="Any assumption.")
@click.option("--write", is_flag=True, help="Put the tables into SCALE.md.")
def main(
    *, records: float, workers: int, bench: Path | None, named: tuple[str, ...], write: bool
) -> None:
    """What nightly, weekly and post-restore verification take in time, money and bytes."""
    given = replace(Assumptions(), records=int(records), workers=workers)
    given = rates_of(bench, given) if bench else given
    text = tables(_with(given, named))
    if write:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8")
    click.echo(text, nl=False)


def _with(given: Assumptions, named: Sequence[str]) -> Assumptions:
    for each in named:
        name, _, number = each.partition("=")
        known = getattr(given, name, None) if name in Assumptions.__slots__ else None
        try:
            value = type(known)(number) if known is not None else None
        except ValueError:
            value = None
        least = 0.0 if name.startswith("price") else _LEAST
        if value is None or not least <= value < math.inf:
            names = ", ".join(one.name for one in fields(given))
            raise click.UsageError(f"expected NAME=NUMBER above 0, NAME of {names}; found {each!r}")
        given = replace(given, **{name: value})
    return given


if __name__ == "__main__":
    main()
