"""Which backup is drilled, what is kept of a drill, and how drills look over time."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.backups import Backup, Format, Kind
from tasks.domain.drill_trend import MOST_DRILLS, trend
from tasks.domain.drills import (
    Against,
    Choice,
    DrillResult,
    Ending,
    Phase,
    Rpo,
    choose_named,
    choose_newest,
    choose_older,
    no_backup,
)
from tasks.domain.dump_roles import roles_named
from tasks.domain.errors import BadInput

NIGHT = datetime(2026, 3, 14, 3, 45, tzinfo=UTC)


def backup(day: int, **changes: object) -> Backup:
    made = Backup(f"database/{day}.dump", 1000, f"{day:064x}", day, NIGHT + timedelta(days=day))
    return replace(made, **changes)


def passed(day: int, seconds: float = 10.0, rpo: float | None = 60.0) -> DrillResult:
    return DrillResult(
        key=f"database/{day}.dump",
        ending=Ending.PASSED,
        at=NIGHT + timedelta(days=day),
        identity=f"{day:064x}",
        records=day,
        rpo=Rpo(rpo, rpo, Against.ACKNOWLEDGED),
        phases=((Phase.FETCH, seconds / 4), (Phase.PROVE, 3 * seconds / 4)),
    )


def test_the_newest_is_drilled_also_when_it_is_unusable() -> None:
    broken = backup(3, unusable="expected 1000 bytes (manifest), found 12")
    assert choose_newest([backup(1), broken, backup(2)]) == broken


@pytest.mark.parametrize("said", [{"trusted": True, "key": "x"}, {"key": "a/b.sql.gpg"}])
def test_a_backup_whose_content_is_nothing_any_more_is_still_the_newest(
    said: dict[str, object],
) -> None:
    zeroed = backup(9, unusable="not known here", format=Format.UNKNOWN, **said)
    assert choose_newest([zeroed, backup(1)]) == zeroed


def test_what_is_no_backup_is_newer_than_none() -> None:
    unknown = {"unusable": "not a backup that is known here", "format": Format.UNKNOWN}
    stray = backup(9, key="database/README.md", **unknown)
    repository = backup(8, kind=Kind.REPOSITORY)
    undated = Backup("database/", unusable="cannot be listed", format=Format.UNKNOWN)
    known = [stray, repository, undated, backup(1)]
    assert choose_newest(known) == backup(1)
    assert choose_older(known, b"seed") == backup(1)
    assert choose_newest([undated]) == undated
    assert choose_newest([repository]) is None
    assert choose_newest([]) is None


def test_where_a_place_cannot_tell_nobody_knows_the_newest() -> None:
    unlisted = Backup("database/", unusable="cannot be listed", format=Format.UNKNOWN, away=True)
    silent = backup(5, unusable="does not answer", away=True)
    assert choose_newest([unlisted, backup(1)]) == unlisted
    assert choose_newest([unlisted]) == unlisted
    assert choose_newest([silent, backup(1)]) == silent
    assert choose_newest([silent, backup(9)]) == backup(9)
    assert choose_older([unlisted, backup(1)], b"seed") == backup(1)


def test_outside_of_the_journal_a_drill_says_how_and_where_it_ended_and_no_more() -> None:
    quoted = "Failing row contains (Ada Canary, +49 151 5550199)"
    for result in (
        DrillResult("k.dump", Ending.FAILED, NIGHT, quoted, during=Phase.LOAD),
        DrillResult("k.dump", Ending.UNKNOWN, NIGHT, quoted, notes=(quoted,)),
    ):
        assert "Canary" not in result.summary()
        assert quoted in result.in_full()
        assert result.ending.value in result.summary()
    failed = DrillResult("k.dump", Ending.FAILED, NIGHT, quoted, during=Phase.LOAD, altered=2)
    assert "failed, poisoned in the phase load" in failed.summary()
    assert passed(1).in_full() == passed(1).summary()


def test_notes_are_bounded_in_number_and_length() -> None:
    kept = replace(passed(1), notes=("x" * 9000,) * 5000).as_json()
    assert len(kept["notes"]) == 100
    assert {len(each) for each in kept["notes"]} == {300}


@given(st.integers(2, 9), st.binary(min_size=16, max_size=16), st.randoms())
def test_the_same_seed_draws_the_same_older_backup_in_whatever_order(
    count: int, seed: bytes, chance: object
) -> None:
    known = [backup(day) for day in range(count)]
    drawn = choose_older(known, seed)
    chance.shuffle(known)  # type: ignore[attr-defined]  # Random, behind hypothesis's type
    assert drawn == choose_older(known, seed)
    assert drawn in known
    assert drawn != choose_newest(known)


def test_every_older_usable_backup_may_be_drawn_and_no_other() -> None:
    known = [*(backup(day) for day in range(5)), backup(2, unusable="cut", key="cut.dump")]
    drawn = {choose_older(known, bytes([seed])) for seed in range(200)}
    assert drawn == {backup(day) for day in range(4)}


def test_a_key_that_names_none_or_several_is_bad_input() -> None:
    known = [backup(1), backup(2), backup(2, root="other")]
    assert choose_named(known, "database/1.dump") == backup(1)
    for key in ("database/2.dump", "database/3.dump"):
        with pytest.raises(BadInput, match="expected one backup"):
            choose_named(known, key)


@pytest.mark.parametrize(
    "result",
    [
        passed(1).chosen(Choice.OLDER, "00ff"),
        replace(passed(2), rpo=Rpo(), notes=("left out: extension x",), phases=()),
        no_backup(),
        DrillResult("k", Ending.FAILED, NIGHT, "poisoned", altered=3, where="7..9"),
        DrillResult("k", Ending.FAILED, NIGHT, "cut", during=Phase.FETCH),
    ],
)
def test_a_result_is_read_back_as_it_was_kept(result: DrillResult) -> None:
    assert DrillResult.from_json(result.as_json()) == result


def test_text_that_no_database_could_hold_is_made_harmless_before_it_is_kept() -> None:
    hostile = DrillResult("a\x00b", Ending.FAILED, NIGHT, "\ud800\u202e" + "x" * 9000)
    kept = hostile.as_json()
    assert "\x00" not in kept["key"]
    assert len(kept["reason"]) <= 2000
    assert (kept["key"] + kept["reason"]).encode()
    assert hostile.summary().encode()


@pytest.mark.parametrize("broken", [{}, {"ending": "maybe"}, [], {"ending": "passed", "at": 3}])
def test_a_result_that_we_did_not_write_is_bad_input(broken: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        DrillResult.from_json(broken)


def test_only_a_drill_that_passed_proves_a_backup() -> None:
    proof = passed(5, seconds=12.0).proof
    assert proof is not None
    assert (proof.at, proof.seconds, proof.records) == (NIGHT + timedelta(days=5), 12.0, 5)
    for ending in (Ending.FAILED, Ending.UNKNOWN):
        assert replace(passed(5), ending=ending).proof is None


def heights(svg: str, name: str) -> list[float]:
    rects = ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}rect")  # noqa: S314  ours
    return [
        float(each.attrib["height"])
        for each in rects
        if any(f": {name} " in (title.text or "") for title in each)
    ]


def test_the_trend_draws_each_figure_to_scale() -> None:
    drills = [passed(1, 10, 100), passed(2, 20, 50), passed(3, 5, None)]
    svg = trend(drills)
    first, second, third = heights(svg, "RTO")
    assert second == pytest.approx(2 * first, abs=0.01)
    assert second == pytest.approx(4 * third, abs=0.01)
    assert heights(svg, "RPO")[0] == pytest.approx(2 * heights(svg, "RPO")[1], abs=0.01)
    assert len(heights(svg, "RPO")) == 2


def test_a_drill_without_figures_is_told_by_a_letter_and_hides_no_other() -> None:
    drills = [passed(1), replace(passed(2), ending=Ending.FAILED), no_backup()]
    svg = trend(drills)
    assert svg.count(">F</text>") == 4  # both panels
    assert len(heights(svg, "RTO")) == 1


@pytest.mark.parametrize("drills", [[], [no_backup()], [passed(1, 0, 0)]])
def test_a_trend_of_nothing_much_is_drawn_or_empty(drills: Sequence[DrillResult]) -> None:
    svg = trend(drills)
    assert bool(svg) == bool(drills)
    assert not svg or ET.fromstring(svg) is not None  # noqa: S314  ours


def test_the_trend_shows_the_newest_ninety() -> None:
    assert len(heights(trend([passed(day) for day in range(200)]), "RTO")) == MOST_DRILLS


def test_roles_are_found_in_what_pg_dump_writes() -> None:
    definitions = """
GRANT SELECT ON TABLE public.audit_records TO audit_reader;
GRANT SELECT,INSERT ON TABLE public.audit_records TO "Odd "" Name";
GRANT ALL ON SCHEMA public TO PUBLIC;
REVOKE USAGE ON SCHEMA public FROM sealer, writer;
ALTER DEFAULT PRIVILEGES FOR ROLE owner IN SCHEMA public GRANT SELECT ON TABLES  TO viewer;
CREATE POLICY p ON public.t FOR SELECT TO only_me USING (true);
COMMENT ON TABLE public.t IS 'TO nobody_at_all';
GRANT SELECT ON TABLE public.t TO pg_read_all_data;
"""
    assert roles_named(definitions) == sorted(
        ["audit_reader", 'Odd " Name', "sealer", "writer", "owner", "viewer", "only_me"]
    )


@given(st.text(max_size=200))
def test_no_text_makes_a_role_that_could_not_be_made(text: str) -> None:
    for name in roles_named(f'GRANT SELECT ON t TO "{text}", {text};'):
        assert 0 < len(name.encode("utf-8", "surrogatepass")) <= 63
        assert "\x00" not in name
        assert not name.startswith("pg_")
