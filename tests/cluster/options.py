"""Which cluster the tests of `tests/cluster` run against: the simulated one, unless one is named.

A real one is reached only by its context's name on the command line. What a shell has in its
environment for clusters, clouds and databases is taken away before any test, so that nothing
else leads there either.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from deployments.lab.kubernetes.manifests import BUSYBOX

DANGEROUS = ("KUBECONFIG", "AWS_", "PG", "PREFECT_")
"""Beginnings of variables that lead to somebody's real system."""

POLICIES = ("Never", "IfNotPresent", "Always")
LABS_POSTGRES, LABS_REDIS = "registry.local/postgres:15", "registry.local/redis:7"


@dataclass(frozen=True)
class Images:
    """Of the containers: `web` needs what busybox has; `policy` is their imagePullPolicy."""

    web: str = BUSYBOX
    postgres: str = LABS_POSTGRES
    redis: str = LABS_REDIS
    policy: str = "Never"


@dataclass(frozen=True)
class RealCluster:
    """What was named on the command line."""

    config_file: Path
    context: str
    images: Images


_REAL = pytest.StashKey[RealCluster | None]()


def add_options(parser: pytest.Parser) -> None:
    """The options of the command line."""
    group = parser.getgroup("cluster", "tests against a real Kubernetes cluster")
    group.addoption(
        "--cluster-context", default="", help="context of a kubeconfig; empty: the simulated one"
    )
    group.addoption(
        "--cluster-kubeconfig", default="", help="the kubeconfig; else the one kubectl would take"
    )
    for name, what in (
        ("web", "busybox-like: sh, httpd, sleep"),
        ("postgres", "PostgreSQL: initdb, postgres, pg_isready, timeout"),
        ("redis", "Redis: redis-server, redis-cli, timeout"),
    ):
        group.addoption(f"--cluster-image-{name}", default="", help=f"image ({what})")
    group.addoption(
        "--cluster-pull-policy",
        default="IfNotPresent",
        choices=POLICIES,
        help="imagePullPolicy of these images",
    )


def choose(config: pytest.Config) -> None:
    """Read the options, then take the shell's own ways to real systems away."""
    config.stash[_REAL] = _named(config, os.environ.get("KUBECONFIG", ""))
    for name in [each for each in os.environ if each.startswith(DANGEROUS)]:
        del os.environ[name]


def real_cluster(config: pytest.Config) -> RealCluster | None:
    """The one that was named; None: the tests run against the simulated one."""
    return config.stash[_REAL]


def _named(config: pytest.Config, usual: str) -> RealCluster | None:
    context = config.getoption("--cluster-context")
    if not context:
        return None
    images = {
        name: config.getoption(f"--cluster-image-{name}") for name in ("web", "postgres", "redis")
    }
    missing = [f"--cluster-image-{name}" for name, image in images.items() if not image]
    if missing:
        raise pytest.UsageError(f"expected {', '.join(missing)} beside --cluster-context")
    named = config.getoption("--cluster-kubeconfig") or usual.partition(os.pathsep)[0]
    file = Path(named) if named else Path.home() / ".kube" / "config"
    if not file.is_file():
        raise pytest.UsageError(f"expected a kubeconfig, found none at {file}")
    policy = config.getoption("--cluster-pull-policy")
    return RealCluster(file, context, Images(**images, policy=policy))
