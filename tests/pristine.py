"""A lab put back to what it was before any test: so that a whole lab serves many tests."""

import shutil

import httpx
from psycopg import sql

from deployments.lab import activation
from deployments.lab.patient import DATABASE, OWNER
from deployments.lab.postgres import PostgresServer
from deployments.lab.s3 import BACKUPS, EVIDENCE
from deployments.lab.sealing import put_back, states_of
from deployments.lab.stack import Lab
from deployments.lab.template import RESPONDER_DATABASE

_COPY = f"{DATABASE}_pristine"
_KEPT = {"postgres", "template0", "template1", _COPY}
_RESPONDERS_TABLES = (  # but for those that are filled when the lab begins
    "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'"
    " AND tablename NOT IN ('people', 'tokens', 'reconciliation')"
)


class Pristine:
    """A copy of a lab's data, taken at once; `restore` costs a second, less if S3 is as it was.

    `memory_bytes`: of the lab before any test, whichever ran since.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.memory_bytes = lab.memory_bytes()
        self._sizes = lab.backup_size, lab.sealed_size, lab.backup_key
        self._data = lab.path / "s3" / "data"
        self._data_copy = lab.path / "s3" / "data-pristine"
        _copy_database(lab.patient, DATABASE, _COPY)
        lab.objects.stop()
        shutil.copytree(self._data, self._data_copy)
        lab.objects.start()
        self._versions = self._listed()
        self._witnessed = states_of(lab.witnesses)

    def restore(self) -> Lab:
        """The lab as it was, its settings active, its servers up, its writer (if any) at work."""
        lab = self.lab
        lab.writer.stop()
        for part in (lab.patient, lab.responder, lab.cache, lab.objects):
            if part.child is None or not part.child.alive:
                part.start()
        self._restore_databases()
        if self._listed() != self._versions:
            lab.objects.stop()
            shutil.rmtree(self._data)
            shutil.copytree(self._data_copy, self._data)
            lab.objects.start()
        put_back(lab.witnesses, self._witnessed)
        for witness in lab.witnesses:
            if witness.child is None or not witness.child.alive:
                witness.start(list(lab.trust_files.values()))
        if lab.sealer.child is None or not lab.sealer.child.alive:
            lab.sealer.start()
        lab.backup_size, lab.sealed_size, lab.backup_key = self._sizes
        _empty_responder(lab.responder)
        lab.engine_file.unlink(missing_ok=True)
        self._restart_api()
        activation.activate(lab)
        lab.writer.log.unlink(missing_ok=True)
        if lab.options.writer:
            lab.writer.start()
        return lab

    def _restore_databases(self) -> None:
        with self.lab.patient.connect() as connection:
            found = connection.execute("SELECT datname FROM pg_database").fetchall()
            for (name,) in found:
                if name not in _KEPT:
                    connection.execute(
                        sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
                    )
        _copy_database(self.lab.patient, _COPY, DATABASE)

    def _restart_api(self) -> None:
        """Only when it remembers records that are not there any more, or died."""
        api = self.lab.api
        if api.child is not None and api.child.alive:
            answer = httpx.get(
                f"{api.url}/api/v1/audit/head",
                headers={"Authorization": f"Bearer {api.token}"},
                timeout=40,
            )
            if answer.status_code == 200 and answer.json()["size"] == self.lab.options.records:
                return
        api.stop()
        api.start()

    def _listed(self) -> set[tuple[str, str, str]]:
        """Every version and delete marker of both buckets."""
        client = self.lab.objects.client("operator")
        found = {
            (bucket, each["Key"], each["VersionId"])
            for bucket in (BACKUPS, EVIDENCE)
            for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket)
            for kind in ("Versions", "DeleteMarkers")
            for each in page.get(kind, ())
        }
        client.close()
        return found


def _copy_database(server: PostgresServer, source: str, copy: str) -> None:
    """A database as a copy of another, from which everybody is sent away meanwhile."""
    allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    with server.connect() as connection:
        connection.execute(allow.format(sql.Identifier(source), sql.Literal(False)))
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
            (source,),
        )
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
                sql.Identifier(copy), sql.Identifier(source), sql.Identifier(OWNER)
            )
        )
        connection.execute(allow.format(sql.Identifier(source), sql.Literal(True)))


def _empty_responder(server: PostgresServer) -> None:
    with server.connect(RESPONDER_DATABASE) as connection:
        tables = [name for (name,) in connection.execute(_RESPONDERS_TABLES).fetchall()]
        connection.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(map(sql.SQL, tables))))
