"""The patient's server with misbehaving clients, and the site that looks at it."""

from collections.abc import Iterator

import pytest

from deployments.lab.stack import Lab
from tasks.settings import settings
from tasks.work import database_remedies
from tasks.work.database_remedies import Site
from tests.tasks.database.clients import Clients, impatient

TARGET = "database/rlhf_audit"


@pytest.fixture
def site(patient: Lab) -> Site:
    assert patient.patient.child is not None
    return impatient(database_remedies.site_of(settings(), TARGET))


@pytest.fixture
def clients(patient: Lab) -> Iterator[Clients]:
    made = Clients(patient)
    yield made
    made.close()
