"""flows/RUNBOOK.md against the runbook's lines on one side and the code on the other.

The code is parsed, never imported: the map is checked in a second, without Prefect.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAP = ROOT / "flows" / "RUNBOOK.md"
LINES = ROOT / "tests" / "vectors" / "runbook_lines.txt"
RUNBOOK_LINE_COUNT = 140

ID = re.compile(r"[a-z][a-z0-9-]*(?:\.[a-z0-9-]+)*")
ROW = re.compile(r"^\| `(?P<id>[^`]+)` \| (?P<line>.+) \| (?P<how>[^|]+) \| (?P<where>[^|]+) \|$")
DECISION = re.compile(r"^\| (?P<lines>`.+?) \| [^|]+ \| [^|]+ \|$")
PLACE = re.compile(r"`(?P<file>[\w/]+\.py)::(?P<name>[\w.]+)`")
TAG = "runbook:"
SIMULATED = " (simulated)"
ON_KUBERNETES = {
    *("tasks/emergency.py", "tasks/rollback.py", "tasks/scaling.py", "tasks/workloads.py"),
}
"""Modules all of whose tasks need a cluster."""
ADDED = "## Steps that the runbook lacks"
DECISIONS = "## Decisions"


@dataclass(frozen=True)
class Row:
    id: str
    line: str
    how: str
    where: str

    @property
    def places(self) -> list[tuple[str, str]]:
        """What the row claims to be there: (file, name), one or several."""
        found = [PLACE.fullmatch(part) for part in self.where.split(", ")]
        assert all(found), f"{self.id}: expected `file.py::name`, found {self.where!r}"
        return [(place["file"], place["name"]) for place in found if place]


@lru_cache(maxsize=1)
def page() -> str:
    return MAP.read_text(encoding="utf-8")


def rows_between(start: str, end: str) -> list[Row]:
    text = page()
    begin = text.index(start) if start else 0
    part = text[begin : text.index(end, begin)]
    return [Row(**found.groupdict()) for line in part.splitlines() if (found := ROW.match(line))]


def runbook_rows() -> list[Row]:
    return rows_between("", ADDED)


def all_rows() -> list[Row]:
    return rows_between("", DECISIONS)


def runbook_lines() -> list[str]:
    text = LINES.read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("# ")]


def modules(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_bytes())


def definition(file: str, name: str) -> ast.stmt | None:
    """The statement that defines `name` (`Class.attribute` too) at the top of `file`."""
    path = ROOT / file
    if not path.is_file():
        return None
    body: list[ast.stmt] = ast.parse(path.read_bytes()).body
    found: ast.stmt | None = None
    for part in name.split("."):
        found = next((stmt for stmt in body if part in names_defined(stmt)), None)
        if found is None:
            return None
        body = found.body if isinstance(found, ast.ClassDef) else []
    return found


def names_defined(stmt: ast.stmt) -> set[str]:
    if isinstance(stmt, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {stmt.name}
    if isinstance(stmt, ast.AnnAssign):
        return {stmt.target.id} if isinstance(stmt.target, ast.Name) else set()
    if isinstance(stmt, ast.Assign):
        return {target.id for target in stmt.targets if isinstance(target, ast.Name)}
    return set()


def strings_in(node: ast.AST) -> set[str]:
    return {
        inner.value
        for inner in ast.walk(node)
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str)
    }


def called(node: ast.Call) -> str:
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def decorator(stmt: ast.stmt | None, name: str) -> ast.Call | None:
    if not isinstance(stmt, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    calls = (made for made in stmt.decorator_list if isinstance(made, ast.Call))
    return next((made for made in calls if called(made) == name), None)


def tags_of(made: ast.Call) -> set[str]:
    return {
        text.removeprefix(TAG)
        for keyword in made.keywords
        if keyword.arg == "tags"
        for text in strings_in(keyword.value)
        if text.startswith(TAG)
    }


def ids_in_code() -> dict[str, set[str]]:
    """Each id that the code names, with the files that name it.

    An id is the tag of a task, the value of `step=`, the first argument of PlanStep, Observation or
    carry_out, the rule of an Assessment, or any string that begins like an id of the map and has
    its form: constants hide from nobody. Codes of causes have that form too, and are none.
    """
    heads = {row.id.split(".")[0] for row in all_rows() if "." in row.id}
    known = re.compile(rf"(?:{'|'.join(sorted(map(re.escape, heads)))})\.[a-z0-9.-]+")
    seen: dict[str, set[str]] = {}
    causes = {code for _, tree in modules("tasks/domain") for code in codes_of_causes(tree)}
    for file, tree in modules("flows", "tasks"):
        for text in named_steps(tree) | {
            text.removeprefix(TAG)
            for text in strings_in(tree)
            if text.startswith(TAG) or (known.fullmatch(text) and text not in causes)
        }:
            seen.setdefault(text, set()).add(file)
    return seen


def codes_of_causes(tree: ast.Module) -> set[str]:
    """What a diagnosis names: the first argument, or `code=`, of a Cause."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called(node) == "Cause":
            given = [word.value for word in node.keywords if word.arg == "code"] + node.args[:1]
            found |= {text for value in given for text in strings_in(value)}
    return found


def named_steps(tree: ast.Module) -> set[str]:
    first = {"PlanStep": 0, "Observation": 0, "carry_out": 0, "Assessment": 1, "observe": 1}
    found: set[str] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        given = [word.value for word in node.keywords if word.arg in {"step", "rule"}]
        position = first.get(called(node))
        if position is not None and len(node.args) > position:
            given.append(node.args[position])
        for value in given:
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                found.add(value.value)
    return found


def test_every_line_of_the_runbook_has_its_row_in_the_runbooks_order() -> None:
    lines = runbook_lines()
    ids = [line.split(" | ")[0] for line in lines if not line.startswith("#")]
    assert len(ids) == len(set(ids)) == RUNBOOK_LINE_COUNT
    assert [row.id for row in runbook_rows()] == ids


def test_every_heading_of_the_runbook_stands_in_the_map() -> None:
    expected = [line for line in runbook_lines() if line.startswith("#")]
    runbook_part = page()[: page().index(ADDED)]
    found = [line for line in runbook_part.splitlines() if line.startswith("##")]
    assert found == expected


def test_every_command_of_the_runbook_stands_in_its_row_as_it_is() -> None:
    plain = {row.id: row.line.replace("`", "").replace("\\|", "|") for row in runbook_rows()}
    for line in runbook_lines():
        if " | command | " in line:
            step, _, command = line.split(" | ", 2)
            assert plain[step] == command


def test_no_table_line_of_the_map_escapes_the_reader() -> None:
    for line in page()[: page().index(DECISIONS)].splitlines():
        if line.startswith("| `"):
            assert ROW.match(line), f"not a row of four columns: {line}"


def test_ids_are_unique_and_well_formed() -> None:
    ids = [row.id for row in all_rows()]
    assert sorted(ids) == sorted(set(ids))
    assert [step for step in ids if not ID.fullmatch(step)] == []


@pytest.mark.parametrize("row", all_rows(), ids=lambda row: row.id)
def test_a_row_says_how_and_names_a_place_that_exists(row: Row) -> None:
    assert row.how.removesuffix(SIMULATED) in {"automatic", "approval"} or re.fullmatch(
        r"reference|manual: .{10,}", row.how
    ), f"{row.id}: a manual row needs its reason, found {row.how!r}"
    for file, name in row.places:
        assert definition(file, name) is not None, f"{row.id}: {file} defines no {name}"


def test_what_needs_a_cluster_says_that_it_was_done_on_a_simulated_one_alone() -> None:
    for row in all_rows():
        if any(file in ON_KUBERNETES for file, _ in row.places):
            assert row.how.endswith(SIMULATED), row.id


def test_every_id_in_the_code_has_a_row() -> None:
    rows = {row.id: row for row in all_rows()}
    code = ids_in_code()
    assert code, "the code names no id at all: the reader of this test is broken"
    unknown = {step: files for step, files in code.items() if step not in rows}
    assert unknown == {}, "give these a row in flows/RUNBOOK.md"


def test_every_row_that_names_a_task_finds_its_own_tag_there() -> None:
    missing = []
    for row in all_rows():
        for file, name in row.places:
            made = decorator(definition(file, name), "task")
            if made is not None and row.id not in tags_of(made):
                missing.append(f"{file}::{name} lacks the tag {TAG}{row.id}")
    assert missing == []


def test_every_tagged_task_is_the_place_of_each_of_its_tags() -> None:
    places = {row.id: row.places for row in all_rows()}
    astray = []
    for file, tree in modules("tasks"):
        for stmt in tree.body:
            made = decorator(stmt, "task")
            if made is None or not isinstance(stmt, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            astray += [
                f"{file}::{stmt.name} is tagged {step}, whose row names another place"
                for step in tags_of(made)
                if (file, stmt.name) not in places.get(step, [])
            ]
    assert astray == []


def test_every_decision_names_rows_that_exist() -> None:
    ids = {row.id for row in all_rows()}
    part = page()[page().index(DECISIONS) :]
    decided = [found["lines"] for line in part.splitlines() if (found := DECISION.match(line))]
    assert len(decided) == sum(line.startswith("| `") for line in part.splitlines()) > 0
    named = {step for cell in decided for step in re.findall(r"`([^`]+)`", cell)}
    assert named - ids == set()


def test_every_deployment_enters_a_flow_and_is_tagged_with_a_section_of_the_map() -> None:
    text = (ROOT / "prefect.yaml").read_text(encoding="utf-8")
    entrypoints = re.findall(r"^ +entrypoint: ([\w.]+)$", text, re.MULTILINE)
    tags = re.findall(rf'"{TAG}([^"]+)"', text)
    assert len(entrypoints) == text.count("entrypoint:") > 0
    assert len(tags) >= len(entrypoints)
    for entrypoint in entrypoints:
        module, _, name = entrypoint.rpartition(".")
        entered = definition(f"{module.replace('.', '/')}.py", name)
        assert decorator(entered, "flow") is not None, f"{entrypoint} is no flow"
    sections = {row.id.split(".")[0] for row in all_rows()}
    # An incident's own run goes through all sections.
    assert set(tags) - sections - {"incident"} == set()
