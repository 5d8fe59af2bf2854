"""`runbook token`: who may see, respond and decide. Talks to the responder's database itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from rich.table import Table

from deployments import terminal
from deployments.exits import GOOD
from deployments.key_files import new_secret_file
from tasks.clients.errors import Transient
from tasks.work import people, responder
from tasks.work.people import Known

_DAYS = 90


def new(name: str, role: str, days: int | None, *, out: Path | None, change_role: bool) -> int:
    """Make a token; it goes to standard output, alone, or to the new file `out`."""
    valid_for = timedelta(days=days or _DAYS)
    with _our_database():
        if out is None:
            token = people.add_person(name, role, valid_for, change_role=change_role)
            click.echo(token)
        else:
            with new_secret_file(out) as file:  # first: a token that nobody has is of no use
                token = people.add_person(name, role, valid_for, change_role=change_role)
                file.write(token + "\n")
    until = datetime.now(UTC) + valid_for
    click.echo(f"A token of {name} ({role}), valid until {until:%Y-%m-%d}.", err=True)
    return GOOD


def add_proxied(name: str, role: str, *, change_role: bool) -> int:
    """Let the trusted proxy bring a person in."""
    with _our_database():
        people.add_proxied(name, role, change_role=change_role)
    click.echo(f"{name} ({role}) may come by the trusted proxy.")
    return GOOD


def show(json_file: Path | None) -> int:
    """Everybody who is known, a row for each token."""
    with _our_database():
        known = people.listed()
    table = Table("name", "role", "by proxy", "valid until", "last used", box=None, pad_edge=False)
    for one in known:
        proxied = "yes" if one.proxied else ""
        table.add_row(one.name, one.role, proxied, _validity(one), _last_use(one))
    terminal.console().print(table, markup=False)
    terminal.write_json(json_file, [_as_json(one) for one in known])
    return GOOD


def revoke(name: str) -> int:
    """End what a person has."""
    with _our_database():
        ended = people.revoke(name)
    click.echo(f"{name}: {ended} valid token(s) revoked, all logins ended.")
    return GOOD


@contextmanager
def _our_database() -> Iterator[None]:
    try:
        responder.migrate()
        yield
    except Transient as error:
        raise Transient(f"{error}; check RUNBOOK_RESPONDER__DSN") from error
    finally:
        responder.close()


def _validity(known: Known) -> str:
    if known.expires_at is None:
        return "no token"
    day = f"{known.expires_at:%Y-%m-%d %H:%M}"
    return day if known.expires_at > datetime.now(UTC) else f"{day} (expired)"


def _last_use(known: Known) -> str:
    if known.used_at is None:
        return "never" if known.expires_at else ""
    return f"{known.used_at:%Y-%m-%d %H:%M}"


def _as_json(known: Known) -> dict[str, object]:
    times = {"made_at": known.made_at, "expires_at": known.expires_at, "used_at": known.used_at}
    return {
        "name": known.name,
        "role": known.role,
        "proxied": known.proxied,
        **{field: at and at.isoformat() for field, at in times.items()},
    }
