"""`python -m deployments.gateway`: the gateway, until SIGTERM or Ctrl-C."""

from urllib.parse import urlsplit

import uvicorn

from deployments.gateway.app import build_app
from deployments.gateway.dispatcher import Dispatcher
from deployments.gateway.log import log_as_json
from deployments.gateway.prefect_api import PrefectApi
from deployments.gateway.ticker import Ticker
from tasks.domain.errors import BadInput
from tasks.settings import settings


def main() -> None:
    """Serve on the host and port of the gateway's own URL."""
    log_as_json()
    address = urlsplit(settings().gateway.url)
    if address.hostname is None or address.port is None:
        raise BadInput(
            f"expected RUNBOOK_GATEWAY__URL with host and port, found {settings().gateway.url!r}"
        )
    with PrefectApi.from_environment() as api:
        dispatcher = Dispatcher(api, children=settings().gateway.warm_children)
        uvicorn.run(
            build_app(dispatcher, Ticker()),
            host=address.hostname,
            port=address.port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=5,
        )


if __name__ == "__main__":
    main()
