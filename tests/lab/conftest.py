"""What several tests of the lab need."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from deployments.lab.patient import DATABASE
from deployments.lab.stack import Lab
from tests.room import open_place


@pytest.fixture
def api(patient: Lab) -> Iterator[httpx.Client]:
    """The audit API, with its token."""
    headers = {"Authorization": f"Bearer {patient.api.token}"}
    with httpx.Client(base_url=patient.api.url, headers=headers, timeout=40) as client:
        yield client


@pytest.fixture
def database(patient: Lab) -> Iterator[psycopg.Connection]:
    """The patient's database as superuser."""
    with patient.patient.connect(DATABASE) as connection:
        yield connection


@pytest.fixture
def state_path(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A state directory that servers of another user can reach, unlike pytest's own."""
    path = open_place() / f"test-{request.node.name[:40]}-{os.getpid()}"
    yield path
    shutil.rmtree(path, ignore_errors=True)
