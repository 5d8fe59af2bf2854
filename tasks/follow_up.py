"""Reviews of closed incidents, some days after: were the measures done, and did they help."""

from datetime import UTC, datetime

from prefect import task

from tasks.retries import NOTIFY, is_last_try
from tasks.work import following_up


def due_reviews(now: datetime) -> list[tuple[str, str]]:
    """(incident, review) of those whose day has come and of which no fact says so yet."""
    return following_up.due(now)


@task(name="Ask for a follow-up review", tags={"runbook:post.actions.reviews"}, **NOTIFY)
def ask_for_review(incident: str, review: str) -> None:
    """Tell the engineering lead what is open; a fact says that they were asked."""
    following_up.ask(incident, review, datetime.now(UTC), last_try=is_last_try())
