"""uvicorn as we use it: bounded heads, and endless answers that end when it stops."""

import socket

import uvicorn
from fastapi import FastAPI

from deployments.gateway.bounded_http import BoundedHttp
from deployments.gateway.live import Live

_BACKLOG = 1024
_CONNECTIONS = 800  # beyond it uvicorn says 503; there is room for them in 1,024 descriptors


def configuration(app: FastAPI, host: str, port: int) -> uvicorn.Config:
    """How the gateway is served."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # whose word counts for a sender's address, `people` decides
        loop="uvloop",
        http=BoundedHttp,
        backlog=_BACKLOG,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=5,
    )


class Server(uvicorn.Server):
    """Stops within moments even while pages listen: uvicorn waits for every answer to end."""

    def __init__(self, config: uvicorn.Config, live: Live) -> None:
        super().__init__(config)
        self._live = live

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then stop as ever."""
        self._live.end()
        await super().shutdown(sockets)
