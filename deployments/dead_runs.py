"""`python -m deployments.dead_runs`: runs that died with their worker are to be marked Crashed.

Makes the automation in Prefect, or brings the one of its name up to date. Without it such a run
stays Running for ever: whoever looks at Prefect believes that something is still being done. The
workers need PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30. Runs of the gateway's warm children send no
heartbeats: the gateway's own leases watch over them.
"""

import asyncio
import sys
from datetime import timedelta

import httpx
from prefect.automations import Automation, ChangeFlowRunState, EventTrigger, Posture
from prefect.client.schemas.objects import StateType
from prefect.settings import PREFECT_API_URL

from deployments.exits import COULD_NOT_TELL, GOOD

NAME = "runs-of-dead-workers"

_HEARTBEAT = "prefect.flow-run.heartbeat"
_SIGNS = (_HEARTBEAT, *(f"prefect.flow-run.{state}" for state in (
    "Completed", "Failed", "Cancelled", "Crashed", "Suspended", "Paused",
)))  # fmt: skip
_SILENCE = timedelta(seconds=90)
"""Three heartbeats."""


def wanted() -> Automation:
    """A run that sent a heartbeat, and then for so long neither another one nor how it ended."""
    return Automation(
        name=NAME,
        description="A run that has sent heartbeats and then nothing for 90 seconds is Crashed.",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            match={"prefect.resource.id": "prefect.flow-run.*"},
            for_each={"prefect.resource.id"},
            after={_HEARTBEAT},
            expect=set(_SIGNS),
            threshold=1,
            within=_SILENCE,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                name="Crashed",
                message="its worker sends no heartbeat any more",
            )
        ],
    )


async def put() -> None:
    """Once, or as often as one likes."""
    automation = wanted()
    try:
        automation.id = (await Automation.aread(name=NAME)).id
    except ValueError:  # there is none of that name
        await automation.acreate()
    else:
        await automation.aupdate()


def main() -> int:
    """Say what was done, or why nothing could be."""
    url = PREFECT_API_URL.value()
    if not url:  # Prefect would start a server of its own, which nobody else ever asks
        print("expected PREFECT_API_URL in the environment, found none: set it", file=sys.stderr)
        return COULD_NOT_TELL
    try:
        asyncio.run(put())
    except (httpx.HTTPError, RuntimeError) as error:
        print(f"expected Prefect's API at {url}, found {error}: look at it", file=sys.stderr)
        return COULD_NOT_TELL
    print(f"automation {NAME}: in place")
    return GOOD


if __name__ == "__main__":
    sys.exit(main())
