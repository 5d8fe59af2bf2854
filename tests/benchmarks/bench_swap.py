"""The swap's outage against that of the bare SQL, with four readers and a writer at 200 rows/s.

Run it: python -m pytest tests/benchmarks/bench_swap.py -rP. The bare SQL closes the database, ends
its sessions and renames both in one transaction; it loses what was written meanwhile. Ours holds
writers still, carries over the last records and the last rows of other tables, and proves.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import psycopg
import pytest

from deployments.lab.environment import PROJECT
from tasks.domain.carry_over import WritersHead
from tasks.domain.ledger import leaf_hash
from tasks.work.carry_over import carry_bulk, losses_of
from tasks.work.reconciling_tables import reconcile_bulk
from tasks.work.swap import swap
from tests.benchmarks.figures import beside, show
from tests.tasks.recovery.conftest import (
    BACKUP,
    NAMES,
    ORIGIN,
    Patient,
    patient,
    servers,
    unfenced,
)

__all__ = ["patient", "servers"]  # fixtures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROUNDS = 5
CLIENTS = 4
LIMIT = 1.3
ANNOTATIONS = 100_000

_MORE = """
INSERT INTO annotations (event_id, session_id, annotator, reward, created_at)
SELECT 'bench ' || n, (SELECT min(session_id) FROM audit_sessions), 'anon', 0.5, now()
  FROM generate_series(1, %s) n
"""


@dataclass
class Clients:
    """What the clients saw, once they have ended."""

    found: dict[str, Any]


@contextmanager
def clients(patient: Patient) -> Iterator[Clients]:
    """Four readers and the writer, from before the swap until a second after it."""
    postgres = patient.servers.postgres
    job = {
        "api": postgres.dsn("audit_api", NAMES.production),
        "reader": postgres.dsn("audit_reader", NAMES.production),
        "clients": CLIENTS,
        "origin": ORIGIN,
        "started": time.time(),
    }
    seen = Clients({})
    with subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.swap_clients"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "connected\n"
        time.sleep(0.5)
        yield seen
        time.sleep(1.0)
        process.stdin.close()
        seen.found = json.loads(process.stdout.readline())


def head_of(patient: Patient) -> WritersHead:
    """What the writer was told at least: the living table's own end."""
    with patient.servers.postgres.connect("postgres"):
        dsn = patient.servers.postgres.dsn("audit_reader", NAMES.production)
    with psycopg.connect(dsn) as connection:
        query = "SELECT seq, record FROM audit_records ORDER BY seq DESC LIMIT 1"
        row = connection.execute(query).fetchone()
    assert row is not None
    return WritersHead(row[0] + 1, leaf_hash(bytes(row[1])))


def ours(patient: Patient) -> dict[str, Any]:
    fresh(patient)
    patient.restore()
    carry_bulk(patient.site, lambda: head_of(patient), unfenced)
    reconcile_bulk(patient.site, BACKUP, unfenced)
    with clients(patient) as seen:
        done = swap(patient.site, lambda: head_of(patient), unfenced)
    stored = {seq: leaf.hex() for seq, _, leaf in patient.stored()}
    lost = {
        int(s): leaf for s, leaf in seen.found["receipts"].items() if stored.get(int(s)) != leaf
    }
    assert lost == {}
    assert losses_of(patient.site).records == 0
    assert done.other_tables.contradictions == {}
    return seen.found | {"held": done.outage_seconds}


def bare(patient: Patient) -> dict[str, Any]:
    fresh(patient)
    production, scratch, quarantine = NAMES.production, NAMES.scratch, NAMES.quarantine
    patient.servers.admin(f"CREATE DATABASE {scratch} TEMPLATE {production} OWNER audit_owner")
    patient.servers.admin(f"GRANT CONNECT ON DATABASE {scratch} TO audit_api, audit_reader")
    with clients(patient) as seen, psycopg.connect(patient.site.dsn, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {production} ALLOW_CONNECTIONS false")
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            (production,),
        )
        with admin.transaction():
            admin.execute(f"ALTER DATABASE {production} RENAME TO {quarantine}")
            admin.execute(f"ALTER DATABASE {scratch} RENAME TO {production}")
    return seen.found


def fresh(patient: Patient) -> None:
    """The damaged patient again, as the fixture made it, with more rows beside the log."""
    servers = patient.servers
    servers.drop_all()
    servers.admin(f"CREATE DATABASE {NAMES.production} TEMPLATE audit_template OWNER audit_owner")
    servers.admin(f"GRANT CONNECT ON DATABASE {NAMES.production} TO audit_api, audit_reader")
    patient.hurt(_MORE, ANNOTATIONS)


def test_the_swap_takes_clients_away_hardly_longer_than_the_bare_sql(patient: Patient) -> None:
    our_rounds, bare_rounds = [], []
    for _ in range(ROUNDS):
        bare_rounds.append(bare(patient))
        our_rounds.append(ours(patient))
    assert [text for found in our_rounds for text in found["strange"]] == []
    our_gap = median(gap for found in our_rounds for gap in found["gaps"])
    bare_gap = median(gap for found in bare_rounds for gap in found["gaps"])
    waited = [round(found["writer_gap"], 3) for found in our_rounds]
    print("the writer at 200 rows/s waited (s):", waited, "; of its rows none is lost")
    print("writers held (s):", [found["held"] for found in our_rounds])
    show([beside("swap, four readers", our_gap, "bare SQL", bare_gap, LIMIT)])
