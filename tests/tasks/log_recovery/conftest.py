"""A bucket of its own for each test, on a real S3 server that keeps versions."""

from collections.abc import Iterator
from itertools import count

import pytest

from tasks.settings import StoreSettings
from tests.object_store_fixture import store_settings
from tests.tasks.log_recovery.buckets import Bucket

__all__ = ["store_settings"]

_NUMBERS = count()


@pytest.fixture
def bucket(store_settings: StoreSettings) -> Iterator[Bucket]:
    one = Bucket(store_settings, f"recovered-{next(_NUMBERS)}")
    yield one
    one.close()


@pytest.fixture
def plain_bucket(store_settings: StoreSettings) -> Iterator[Bucket]:
    """One that keeps no versions, which is much faster to fill."""
    one = Bucket(store_settings, f"plain-{next(_NUMBERS)}", versions=False)
    yield one
    one.close()
