"""Where a suspected breach is isolated: the cluster, the database's server, and who is spared."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from psycopg import Connection
from psycopg.rows import TupleRow

from tasks.clients import postgres
from tasks.clients.kubernetes_identity import is_configured
from tasks.domain.errors import BadInput
from tasks.domain.isolation import Spared
from tasks.sections.breach import BreachSettings
from tasks.sections.systems import KubernetesSettings
from tasks.settings import Settings

Fence = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Site:
    """The cluster, the server of the database, and whom nobody may lock. `dsn` may be empty."""

    cluster: KubernetesSettings
    breach: BreachSettings
    spared: Spared
    database: str
    dsn: str = field(repr=False)

    @property
    def has_cluster(self) -> bool:
        """Whether pods can be cut off at all."""
        return is_configured(self.cluster)

    @contextmanager
    def connected(self) -> Iterator[Connection[TupleRow]]:
        """As the role that may lock others."""
        if not self.dsn:
            raise BadInput(
                "expected a role that may lock others: set RUNBOOK_BREACH__ISOLATION_DSN"
            )
        seconds = self.breach.timeout_seconds
        with postgres.connect(
            self.dsn, timeout_seconds=seconds, statement_seconds=seconds
        ) as connection:
            yield connection


def site_of(settings: Settings) -> Site:
    """From the settings; the roles of all our own logins are ours."""
    database, breach = settings.database, settings.breach
    dsn = breach.isolation_dsn.get_secret_value()
    logins = (
        *(database.reader_dsn.get_secret_value(), database.recovery_dsn.get_secret_value()),
        *([dsn] if dsn else []),
    )
    ours = {postgres.role_in(each) for each in logins} - {""}
    return Site(
        cluster=settings.kubernetes,
        breach=breach,
        spared=Spared(
            ours=frozenset(ours | {*breach.spared_roles, *settings.database_care.protected_roles}),
            break_glass=frozenset(breach.break_glass),
            api=frozenset(breach.api_roles),
        ),
        database=database.name,
        dsn=dsn,
    )
