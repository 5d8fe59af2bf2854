"""README.md promises nothing that is not there: verbs, settings, make targets, links."""

import re
from pathlib import Path

from pydantic import BaseModel

from deployments.cli import cli
from tasks.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
VERB_CELL = re.compile(r"^\| (?P<verbs>`[a-z]+[^|]*) \|", re.MULTILINE)


def test_the_verbs_of_the_readme_are_those_of_the_command() -> None:
    table = README[README.index("## The command") : README.index("## The house")]
    named = {
        verb
        for found in VERB_CELL.finditer(table)
        for verb in re.findall(r"`([a-z-]+)", found["verbs"])
    }
    assert named == set(cli.commands)


def test_every_setting_of_the_readme_exists() -> None:
    names = re.findall(r"`RUNBOOK_([A-Z_]+)`", README)
    assert names
    for name in names:
        section, _, field = name.lower().partition("__")
        model = Settings.model_fields[section].annotation
        assert isinstance(model, type), name
        assert issubclass(model, BaseModel), name
        assert field in model.model_fields, f"RUNBOOK_{name} is no setting"


def test_every_make_target_of_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"(?m)(?:^|`)make ([a-z-]+)", README))
    assert named
    assert named <= targets


def test_every_relative_link_of_the_readme_leads_to_a_file() -> None:
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []
