"""Who hashes for a flow's tasks: processes of this machine, or a Dask cluster when one is set.

The tasks stay whole tasks of the flow; only their shards go to the cluster, over the connection
that prefect-dask makes. Its runner could take the tasks themselves, but then each worker would need
Prefect's API and would be sent the run's context with the API's credentials inside, and every
secret of the responder would have to be in every worker's environment.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from secrets import token_hex
from typing import TYPE_CHECKING

from tasks.clients.errors import Transient
from tasks.domain.errors import BadInput
from tasks.settings import settings
from tasks.work.crews import Crew, Processes

if TYPE_CHECKING:
    from tasks.clients.dask_cluster import DaskCluster


@contextmanager
def hashing_crew() -> Iterator[Crew]:
    """Whoever the settings name, for one verification. Transient without the scheduler."""
    if not settings().dask.scheduler:
        yield Processes(settings().ledger.workers)
        return
    with _dask_cluster() as cluster:
        from tasks.work.dask_crew import DaskCrew  # noqa: PLC0415  as below

        dask = settings().dask
        yield DaskCrew(
            cluster,
            lost_seconds=dask.lost_seconds,
            shard_seconds=dask.shard_seconds,
            rechecked=dask.rechecked_blocks,
        )


def who_hashes() -> str:
    """The same, for a person. Transient when nobody is there."""
    dask = settings().dask
    if not dask.scheduler:
        return "processes of this machine"
    with _dask_cluster() as cluster:
        workers = len(cluster.workers())
    if not workers:
        raise Transient(f"the Dask scheduler at {dask.scheduler} has no workers")
    return f"{workers} Dask workers at {dask.scheduler}"


@contextmanager
def _dask_cluster() -> "Iterator[DaskCluster]":
    dask = settings().dask
    try:  # an extra, and two seconds of imports
        from prefect_dask.task_runners import DaskTaskRunner  # noqa: PLC0415

        from tasks.clients.dask_cluster import DaskCluster, security  # noqa: PLC0415
    except ImportError as error:
        raise BadInput(
            "RUNBOOK_DASK__SCHEDULER is set, but Dask is not installed: install the extra `dask`"
        ) from error
    options = {"security": security(dask), "timeout": dask.connect_seconds}
    with DaskTaskRunner(address=dask.scheduler, client_kwargs=options) as runner:
        try:
            client = runner.client
        except (OSError, TimeoutError) as error:
            raise Transient(
                f"no Dask scheduler answers at {dask.scheduler}: start it, or unset "
                "RUNBOOK_DASK__SCHEDULER to hash with processes"
            ) from error
        with closing(DaskCluster(client, f"verify-{token_hex(8)}")) as cluster:
            yield cluster
