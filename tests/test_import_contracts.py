"""The house's import rules: the contracts hold, they can fail, and light verbs stay light.

The figures are the design's: `runbook verify --help` answers under half a second, and no verb that
starts no flow loads Prefect (importing it alone takes longer than that).
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
LIGHT_VERBS = (
    *("verify", "seal", "key", "prove", "bundle"),
    *("doctor", "incidents", "report", "approve", "deny", "policy"),
    *("acknowledge", "close", "hold", "restore", "status-page", "contacts", "figures"),
)
HELP_SECONDS = 0.5
# The published example key of the signed-note format: valid, and nobody's here.
SOME_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"

VIOLATIONS = {
    "flows/__init__.py": "import deployments\nimport httpx\n",
    "tasks/clients/errors.py": "import prefect\n",
    "tasks/domain/plan.py": "import psycopg\nfrom tasks import retries\n",
    "tasks/retries.py": "import psycopg\n",
    "tasks/work/locks.py": "import redis\n",
}
"""One line or two for each contract, appended to a copy of the tree."""


def contract_names() -> list[str]:
    text = (ROOT / ".importlinter").read_text(encoding="utf-8")
    return [
        line.removeprefix("name = ") for line in text.splitlines() if line.startswith("name = ")
    ]


def lint_imports(tree: Path) -> str:
    finished = subprocess.run(
        [BIN / "lint-imports", "--no-logo", "--no-cache"],
        cwd=tree,
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return " ".join((finished.stdout + finished.stderr).split())


def test_every_contract_is_kept_by_the_tree_and_broken_by_its_violation(tmp_path: Path) -> None:
    for folder in ("flows", "tasks", "deployments"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pyc*"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    names = contract_names()
    assert names

    kept = lint_imports(tmp_path)
    for name in names:
        assert f"{name} KEPT" in kept, kept

    for file, lines in VIOLATIONS.items():
        path = tmp_path / file
        path.write_text(path.read_text(encoding="utf-8") + lines, encoding="utf-8")
    broken = lint_imports(tmp_path)
    for name in names:
        assert f"{name} BROKEN" in broken, broken


def loaded_by(code: str) -> tuple[set[str], str]:
    """Top-level packages that a fresh interpreter has loaded after `code`, and what it printed."""
    script = (
        f"import sys\n{code}\nprint('LOADED', *sorted({{m.split('.')[0] for m in sys.modules}}))"
    )
    finished = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.returncode == 0, finished.stderr
    said, _, loaded = finished.stdout.rpartition("LOADED ")
    return set(loaded.split()), said


def run_verb(*arguments: str) -> str:
    """Code that calls the command as the shell would, and survives its exit."""
    return (
        "from deployments.cli import main\n"
        f"sys.argv = {['runbook', *arguments]!r}\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    print('EXIT', stop.code)"
    )


@pytest.mark.parametrize("verb", LIGHT_VERBS)
def test_a_verb_that_starts_no_flow_never_loads_prefect(verb: str) -> None:
    loaded, said = loaded_by(run_verb(verb, "--help"))
    assert "Usage:" in said
    assert "prefect" not in loaded


def test_verifying_a_directory_never_loads_prefect(tmp_path: Path) -> None:
    loaded, said = loaded_by(run_verb("verify", str(tmp_path), "--log-key", SOME_KEY))
    assert "EXIT 2" in said, "an empty directory proves nothing: exit 2, could not tell"
    assert "prefect" not in loaded


def test_a_verification_worker_never_loads_prefect() -> None:
    loaded, _ = loaded_by("import tasks.work.verification, tasks.work.sealing")
    assert "tasks" in loaded
    assert "prefect" not in loaded


def test_help_of_verify_answers_under_half_a_second() -> None:
    def seconds() -> float:
        began = time.perf_counter()
        subprocess.run([BIN / "runbook", "verify", "--help"], capture_output=True, check=True)
        return time.perf_counter() - began

    # The best of five: other work on the machine slows a start down, nothing makes it faster.
    assert min(seconds() for _ in range(5)) < HELP_SECONDS
