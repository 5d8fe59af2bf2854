"""SQL about sessions that reading and signalling share, so that both see the same.

Texts of other sessions are taken as bytes: a client of another database may put there what is no
UTF-8. A digest is over all bytes of the text; what is shown of it is cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.clients.postgres import APPLICATION
from tasks.domain.database_readings import BACKUP_APPLICATIONS, OURS

PROTECTED = f"""
CASE WHEN a.pid = pg_backend_pid() THEN '{OURS}'
     WHEN a.backend_type IS NULL OR a.backend_start IS NULL THEN 'not visible to us'
     WHEN a.backend_type = 'autovacuum worker'
          AND position('to prevent wraparound' IN a.query) > 0 THEN 'a vacuum against wraparound'
     WHEN a.backend_type <> 'client backend' THEN a.backend_type
     WHEN coalesce(r.rolsuper, false) THEN 'a superuser'
     WHEN coalesce(r.rolreplication, false) THEN 'replication'
     WHEN a.application_name LIKE ANY(%(backups)s) THEN 'a backup'
     WHEN a.application_name = %(ours)s OR a.usename = ANY(%(roles)s) THEN 'a protected role'
     ELSE '' END
"""
"""Why a session of `pg_stat_activity a` (with `pg_roles r`) must not be signalled; else empty."""

DIGEST = "encode(sha256(textsend(coalesce(a.query, ''))), 'hex')"


@dataclass(frozen=True, slots=True)
class Protection:
    """Whom nobody may signal, beside superusers, replication, backups and server processes."""

    roles: Sequence[str] = ()

    def parameters(self) -> dict[str, object]:
        """What `PROTECTED` asks for."""
        return {
            "backups": [f"{name}%" for name in BACKUP_APPLICATIONS],
            "ours": APPLICATION,
            "roles": list(self.roles),
        }
