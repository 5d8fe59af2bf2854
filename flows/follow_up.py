"""Runbook: Post-Incident Procedures, Schedule follow-up reviews. Runs every day."""

from datetime import UTC, datetime

from prefect import flow

from tasks.follow_up import ask_for_review, due_reviews


@flow(name="follow-up", persist_result=False)
def follow_up() -> list[str]:
    """Ask people to hold every review whose day has come; which ones."""
    due = due_reviews(datetime.now(UTC))
    for incident, review in due:
        ask_for_review(incident, review)
    return [f"{incident} {review}" for incident, review in due]
