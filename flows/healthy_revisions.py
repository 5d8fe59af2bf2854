"""Which revisions serve, every ten minutes: a roll back goes only to one that was seen healthy."""

from prefect import flow

from tasks.workloads import keep_healthy_revisions


@flow(name="healthy-revisions", flow_run_name="healthy revisions", persist_result=False)
def healthy_revisions() -> str:
    """Look and keep; while an incident of the system is open nothing is kept. May run any time."""
    return keep_healthy_revisions()
