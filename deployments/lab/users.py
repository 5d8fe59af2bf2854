"""The users of the audit API, simulated: reads at a steady rate, however long each takes.

    python -m deployments.lab.users

Environment: LAB_API_URL, LAB_API_TOKEN, LAB_USERS_RATE (requests a second). Ends at SIGTERM.
"""

import asyncio
import os
from itertools import cycle

import httpx

from deployments.lab.environment import require_loopback

_READS = (
    "/api/v1/audit/head",
    "/api/v1/privacy/config",
    "/api/v1/audit/head",
    "/api/v1/audit/records?limit=10",
)
_ANSWER_SECONDS = 15.0
_MOST = 200  # at once: beyond it users give up before they ask


async def use(url: str, token: str, rate: float) -> None:
    """Ask again and again; what is answered does not matter, the API counts it."""
    limits = httpx.Limits(max_connections=_MOST, max_keepalive_connections=20)
    asking: set[asyncio.Task[None]] = set()
    async with httpx.AsyncClient(
        base_url=require_loopback(url),
        headers={"Authorization": f"Bearer {token}"},
        timeout=_ANSWER_SECONDS,
        limits=limits,
        trust_env=False,
    ) as client:
        loop = asyncio.get_running_loop()
        due = loop.time()
        for path in cycle(_READS):
            await asyncio.sleep(max(0.0, due - loop.time()))
            due = max(due, loop.time() - 1.0) + 1.0 / rate
            if len(asking) < _MOST:
                task = asyncio.create_task(_ask(client, path))
                asking.add(task)
                task.add_done_callback(asking.discard)


async def _ask(client: httpx.AsyncClient, path: str) -> None:
    try:
        await client.get(path)
    except httpx.TransportError:
        return


if __name__ == "__main__":
    asyncio.run(
        use(
            os.environ["LAB_API_URL"],
            os.environ["LAB_API_TOKEN"],
            float(os.environ["LAB_USERS_RATE"]),
        )
    )
