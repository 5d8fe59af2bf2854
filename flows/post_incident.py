"""Runbook: Post-Incident Procedures. What only people know is asked for in the report."""

from prefect import flow

from tasks.artifacts import link_report
from tasks.evidence import keep_ranges, write_report


@flow(name="post-incident", flow_run_name="report {incident_id}", persist_result=False)
def write_post_incident_report(incident_id: str) -> str:
    """Generate incident report: HTML, PDF and JSON from the journal, signed; its address."""
    keep_ranges(incident_id)
    written = write_report(incident_id)
    link_report(incident_id, written.url)
    return written.url
