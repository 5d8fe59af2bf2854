"""Plots mark exactly what the readings say, and are well-formed whatever the text in them."""

import re
from xml.etree import ElementTree as ET

import pytest

from tasks.domain import drawing, plots
from tasks.domain.damage import Damage, read_damage
from tasks.domain.facts import FactKind
from tasks.domain.ledger.verdicts import Code, Finding
from tasks.domain.metrics import phases
from tasks.domain.report import build_report
from tests.builders import ALERT_AT, BACKUP, SIGNED, JournalBuilder, diagnosis, tampered_verdict
from tests.story import full_incident

SVG = "{http://www.w3.org/2000/svg}"


def damage_of(*findings: Finding, signed: int = SIGNED) -> Damage:
    verdict = tampered_verdict(findings, signed)
    return read_damage(JournalBuilder().add(1, FactKind.DIAGNOSED, diagnosis(verdict)).facts)


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314  our own output


def marks(svg: str) -> list[tuple[int, int, str]]:
    return [
        (
            int(shape.attrib["data-first"]),
            int(shape.attrib["data-last"]),
            shape.attrib["class"].removeprefix("mark "),
        )
        for shape in parsed(svg).iter(f"{SVG}rect")
        if "data-first" in shape.attrib
    ]


def magnified(svg: str) -> set[str]:
    told = (title.text or "" for title in parsed(svg).iter(f"{SVG}title"))
    return {words for words in told if words.startswith("seq ")}


def test_damage_map_marks_exactly_the_damaged_positions() -> None:
    svg = plots.damage_map(
        damage_of(
            Finding(Code.MODIFIED, "table", 12_345),
            Finding(Code.DELETED, "table", 23_456, 4),
            Finding(Code.INSERTED, "table", 49_999),
        ),
        BACKUP,
    )

    assert marks(svg) == [
        (12_345, 12_345, "c-modified"),
        (23_456, 23_459, "c-deleted"),
        (49_999, 49_999, "c-inserted"),
    ]
    assert magnified(svg) == {
        "seq 12,345: MODIFIED",
        "seq 23,456: DELETED",
        "seq 23,457: DELETED",
        "seq 23,458: DELETED",
        "seq 23,459: DELETED",
        "seq 49,999: INSERTED",
    }


def test_mark_lies_on_the_strip_in_proportion_to_its_position() -> None:
    svg = plots.damage_map(damage_of(Finding(Code.DELETED, "table", 500, 250), signed=1000), None)
    shapes = list(parsed(svg).iter(f"{SVG}rect"))
    strip = next(shape for shape in shapes if shape.attrib["class"] == "base")
    mark = next(shape for shape in shapes if "data-first" in shape.attrib)
    left, width = float(strip.attrib["x"]), float(strip.attrib["width"])

    assert float(mark.attrib["x"]) == pytest.approx(left + width / 2, abs=0.02)
    assert float(mark.attrib["width"]) == pytest.approx(width / 4, abs=0.02)


def test_single_record_among_a_billion_can_still_be_seen() -> None:
    svg = plots.damage_map(damage_of(Finding(Code.MODIFIED, "table", 7), signed=10**9), None)
    mark = next(shape for shape in parsed(svg).iter(f"{SVG}rect") if "data-first" in shape.attrib)

    assert float(mark.attrib["width"]) >= 2


def test_damage_map_names_backup_head_and_tail() -> None:
    report = build_report(full_incident(), ALERT_AT).readings
    words = " ".join(parsed(plots.damage_map(report.damage, BACKUP)).itertext())

    assert "backup 42,000" in words
    assert "signed head 50,000" in words
    assert "UNSIGNED_TAIL (U) 611" in words


def test_damage_of_a_whole_artefact_is_named_without_a_mark() -> None:
    svg = plots.damage_map(
        damage_of(Finding(Code.SOURCE_MISSING, "table", detail="no such <table>")), BACKUP
    )

    assert marks(svg) == []
    assert "no such <table>" in " ".join(parsed(svg).itertext())


def test_places_beyond_the_magnified_ones_are_counted() -> None:
    svg = plots.damage_map(
        damage_of(*(Finding(Code.MODIFIED, "table", 1000 * place) for place in range(1, 21))), None
    )

    assert len(marks(svg)) == 20
    assert "and 14 more places: see the table" in " ".join(parsed(svg).itertext())


def test_unknown_code_from_a_newer_version_is_drawn_and_escaped() -> None:
    data = {"checkpoint": {"size": 10}, "findings": [{"code": '<x a="', "seq": 3, "count": 1}]}
    facts = JournalBuilder().add(1, FactKind.DIAGNOSED, data).facts

    svg = plots.damage_map(read_damage(facts), None)

    assert marks(svg) == [(3, 3, "c-other")]


def test_nothing_to_draw_is_an_empty_string() -> None:
    assert plots.damage_map(read_damage([]), None) == ""
    assert plots.phase_timeline(()) == ""
    assert plots.provenance(None) == ""
    assert plots.clock_bars(()) == ""


def test_phases_follow_the_facts_and_the_outage_ends_with_its_step() -> None:
    told = {phase.label: (phase.start, phase.end) for phase in phases(full_incident().facts)}

    assert told["Triage"] == pytest.approx((0.0, 0.83))
    assert told["Waiting for a person"] == pytest.approx((5.0, 8.1))
    assert told["Outage by our change"] == pytest.approx((15.578, 16.0))
    assert told["Reporting and closing"] == pytest.approx((16.9, 18.1))


def test_restored_records_add_up_in_the_bar() -> None:
    readings = build_report(full_incident(), ALERT_AT).readings
    svg = plots.provenance(readings.restored)
    told = [title.text or "" for title in parsed(svg).iter(f"{SVG}title")]
    counts = [int(number.replace(",", "")) for number in re.findall(r": ([\d,]+)", str(told))]

    assert sum(counts) == readings.restored.records_after  # type: ignore[union-attr]  # it is there


@pytest.mark.parametrize("name", ["damage_map", "phase_timeline", "provenance", "clock_bars"])
def test_plot_loads_nothing_and_has_a_title_for_those_who_cannot_see_it(name: str) -> None:
    readings = build_report(full_incident(), ALERT_AT).readings
    svg = {
        "damage_map": lambda: plots.damage_map(readings.damage, BACKUP),
        "phase_timeline": lambda: plots.phase_timeline(readings.phases),
        "provenance": lambda: plots.provenance(readings.restored),
        "clock_bars": lambda: plots.clock_bars(readings.clocks),
    }[name]()
    root = parsed(drawing.for_print(svg))

    assert root.find(f"{SVG}title") is not None
    assert root.find(f"{SVG}desc") is not None
    assert not re.search(r"<script|href|url\(|<image|<foreignObject| on\w+=", svg)
