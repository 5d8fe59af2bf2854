"""STOP, PRESERVE, ISOLATE, NOTIFY: the order as the code has it. It is parsed, never imported."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tree(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_bytes())


def function(file: str, name: str) -> ast.FunctionDef:
    return next(
        each for each in tree(file).body if isinstance(each, ast.FunctionDef) and each.name == name
    )


def calls(node: ast.AST) -> list[str]:
    """Names of what is called, in the order of the text."""
    found = [each for each in ast.walk(node) if isinstance(each, ast.Call)]
    found.sort(key=lambda each: (each.lineno, each.col_offset))
    return [
        called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        for called in (each.func for each in found)
    ]


def sources() -> Iterator[tuple[str, ast.Module]]:
    for folder in ("flows", "tasks", "deployments"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            yield name, tree(name)


def test_the_hold_comes_before_triage_looks_at_anything() -> None:
    said = calls(function("flows/incident.py", "respond"))
    assert said.index("stop") < said.index("respond_at_once")


@pytest.mark.parametrize(
    "name", ["handle_suspected_breach", "look_and_propose", "isolate"], ids=str
)
def test_whatever_a_run_begins_with_it_holds_first(name: str) -> None:
    said = [each for each in calls(function("flows/breach.py", name)) if each != "read_incident"]
    assert said.index("stop") == (1 if name == "isolate" else 0)  # there as preserve's argument


def test_people_are_told_with_the_hold_and_nothing_waits_for_it() -> None:
    said = calls(function("flows/breach.py", "stop"))
    assert said[:4] == ["affected_scope", "set_hold", "assign_severity", "assess_alerts"]
    assert set(said[4:]) == {"tell_meanwhile"}
    assert said.count("tell_meanwhile") == 3


def test_the_volatile_is_preserved_before_everything_and_then_proven() -> None:
    said = calls(function("flows/breach.py", "preserve"))
    assert said[1:] == ["preserve_volatile", "preserve_everything", "sealed_for"]


def test_isolation_is_carried_out_only_after_preserving() -> None:
    said = calls(function("flows/breach.py", "isolate"))
    assert said.index("preserve") < said.index("isolation_doors")


@pytest.mark.parametrize("name", ["propose_isolation", "cut_off", "lock_accounts", "end_sessions"])
def test_every_step_that_isolates_takes_the_proof_of_preservation(name: str) -> None:
    given = function("tasks/breach.py", name).args.args
    kinds = {each.arg: ast.unparse(each.annotation) for each in given if each.annotation}
    assert kinds["evidence_of"] == "Preserved"


def test_nobody_but_the_facts_gives_that_proof() -> None:
    makers = {file for file, module in sources() if "Preserved" in calls(module)}
    assert makers == {"tasks/domain/preserved.py"}
    readers = {file for file, module in sources() if "preserved" in calls(module)}
    assert readers == {"tasks/breach.py"}


def test_roles_are_locked_and_sessions_ended_nowhere_but_behind_the_door() -> None:
    for name in ("cut_off", "lock_accounts", "end_sessions", "take_back"):
        assert "carry_out" in calls(function("tasks/breach.py", name))
    users = {
        file
        for file, module in sources()
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom)
        and (node.module == "tasks.clients.role_locks" or _imports(node, "role_locks"))
    }
    assert users == {"tasks/work/role_isolation.py"}


def _imports(node: ast.ImportFrom, name: str) -> bool:
    return node.module == "tasks.clients" and name in {each.name for each in node.names}
