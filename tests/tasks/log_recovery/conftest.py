"""A bucket of its own for each test, on a real S3 server that keeps versions."""

import shutil
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tasks.sections.systems import StoreSettings
from tests.tasks.log_recovery.buckets import Bucket

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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MB; only root may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    mounted = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=40m", "tmpfs", place], check=False, capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("no file system of its own can be mounted here, so none can be filled")
    yield place
    subprocess.run(["umount", place], check=True)
