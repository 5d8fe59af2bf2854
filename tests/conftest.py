"""Labs that all tests share. Each costs seconds to start, so each is started once, when asked for.

`patient`: the system under care with 5,000 records, and the responder's PostgreSQL; no Prefect.
`stack`: all of it, with Prefect, gateway and writer. Both come as they were before any test, and
this process's settings point at them.
"""

from collections.abc import Iterator, Sequence

import hypothesis
import pytest

from deployments.gateway.collecting import collect_rarely
from deployments.lab.stack import Lab, Options
from tasks.settings import settings
from tests import room
from tests.cluster import options
from tests.object_store_fixture import object_store, store_settings
from tests.postgres_fixture import audit_database, postgres_server
from tests.pristine import Pristine

# Here and nowhere else: imported twice, a server of the session would be two.
__all__ = ["audit_database", "object_store", "postgres_server", "store_settings"]

# A busy machine is slow at drawing examples too: that is no finding about the code under test.
hypothesis.settings.register_profile(
    "busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy")

RECORDS = 5000

_RUN_BY_PREFECT = {"pristine_stack", "prefect"}
_ROOM = pytest.StashKey[room.Room | None]()


def pytest_addoption(parser: pytest.Parser) -> None:
    options.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """No test sees what a shell knows of clusters, clouds and databases."""
    options.choose(config)
    config.stash[_ROOM] = room.choose()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that need a Prefect server come last: it stays, and is never quite idle."""
    late = {item.path for item in items if _RUN_BY_PREFECT.intersection(_fixtures(item))}
    items.sort(key=lambda item: item.path in late)


def _fixtures(item: pytest.Item) -> Sequence[str]:
    return item.fixturenames if isinstance(item, pytest.Function) else ()


def pytest_collection_finish() -> None:
    """Thousands of tests are no garbage: a collection would look at each of them."""
    collect_rarely()


def pytest_unconfigure(config: pytest.Config) -> None:
    made = config.stash.get(_ROOM, None)
    if made is not None:
        made.leave()


@pytest.fixture(autouse=True)
def fresh_settings() -> Iterator[None]:
    """Each test reads the environment anew: not what the last one had put there."""
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture(scope="session")
def pristine_patient() -> Iterator[Pristine]:
    options = Options(records=RECORDS, prefect=False, writer=False, checked_per_second=0)
    with Lab(options) as lab:
        yield Pristine(lab)


@pytest.fixture(scope="session")
def pristine_stack() -> Iterator[Pristine]:
    with Lab(Options(records=RECORDS)) as lab:
        yield Pristine(lab)


@pytest.fixture
def patient(pristine_patient: Pristine) -> Lab:
    return pristine_patient.restore()


@pytest.fixture
def stack(pristine_stack: Pristine) -> Iterator[Lab]:
    lab = pristine_stack.restore()
    yield lab
    lab.writer.stop()  # until the next test that wants it
