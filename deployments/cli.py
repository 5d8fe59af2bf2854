"""The `runbook` command: people read what it prints, programs read `--json FILE`.

Exit 0: done and good; 1: the answer is bad (tampered, proof failed); 2: could not tell (bad input,
unreachable, refused). The verbs are in `deployments.verbs`, a module for each subject, and import
late: `runbook verify --help` must not wait for Prefect.
"""

import sys
import traceback

import click

from deployments.exits import COULD_NOT_TELL
from deployments.verbs import (
    bundles,
    communication,
    doctor,
    drill,
    emergency,
    figures,
    incidents,
    isolation,
    lab,
    ledger,
    policies,
    privacy,
    recover,
    reports,
    restore,
    rollback,
    scale,
    tokens,
)
from tasks.domain.errors import RunbookError
from tasks.domain.untrusted import visible

VERBS = (
    *(lab.demo, lab.up),
    *(ledger.verify, ledger.seal, ledger.key, ledger.prove, bundles.bundle),
    *(incidents.incidents, reports.report, figures.figures, incidents.approve, incidents.deny),
    *(incidents.acknowledge, incidents.close, incidents.hold),
    *(privacy.privacy, isolation.isolation),
    *(communication.status_page, communication.contacts),
    *(policies.policy, doctor.doctor, tokens.token),
    *(scale.scale, emergency.emergency),
    *(restore.restore, rollback.rollback, drill.drill, recover.recover),
)

_MESSAGE_LIMIT = 2000


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rlhf-audit-runbook")
def cli() -> None:
    """The incident-response runbook of the RLHF Audit Trail, executed."""


for verb in VERBS:
    cli.add_command(verb)


def main() -> None:
    """Entry point: every expected error is one line and exit 2."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("Stopped.", err=True)
        sys.exit(COULD_NOT_TELL)
    except click.ClickException as error:
        error.show()
        sys.exit(COULD_NOT_TELL)
    except (RunbookError, OSError) as error:
        click.echo(f"runbook: {visible(error, _MESSAGE_LIMIT)}", err=True)
        sys.exit(COULD_NOT_TELL)
    except Exception:  # noqa: BLE001 - a bug of ours must not look like exit 1, "tampered"
        traceback.print_exc()
        sys.exit(COULD_NOT_TELL)


if __name__ == "__main__":
    main()
