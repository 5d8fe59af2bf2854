"""`python -m deployments.gateway.token_for NAME ROLE [--days N]`: a person's token, printed once.

Only its SHA-256 is kept. Exit 0: the token is on standard output; 1: our database did not answer;
2: the name, the role or the days are not understood.
"""

from datetime import timedelta

import click

from tasks.clients.errors import Transient
from tasks.domain.errors import BadInput
from tasks.work import people, responder

_DAYS = 90
_MOST_DAYS = 366


@click.command()
@click.argument("name")
@click.argument("role", type=click.Choice([role.value for role in people.Role]))
@click.option(
    "--days",
    type=click.IntRange(1, _MOST_DAYS),
    default=_DAYS,
    show_default=True,
    help="For how long the token is valid.",
)
def main(name: str, role: str, days: int) -> None:
    """Make a token for the person NAME, who may do what ROLE says."""
    try:
        responder.migrate()
        token = people.add_person(name, role, timedelta(days=days))
    except BadInput as error:
        raise click.UsageError(str(error)) from error
    except Transient as error:
        raise click.ClickException(f"{error}: check RUNBOOK_RESPONDER__DSN") from error
    finally:
        responder.close()
    click.echo(token)


if __name__ == "__main__":
    main()
