"""`python -m deployments.gateway`: the gateway, until SIGTERM or Ctrl-C."""

from urllib.parse import urlsplit

from deployments.gateway.app import build_app
from deployments.gateway.collecting import collect_rarely
from deployments.gateway.dispatcher import Dispatcher
from deployments.gateway.log import log_as_json
from deployments.gateway.prefect_api import PrefectApi
from deployments.gateway.reconciler import Reconciler
from deployments.gateway.server import Server, configuration
from deployments.gateway.ticker import Ticker
from tasks.domain.errors import BadInput
from tasks.settings import settings
from tasks.work import routing


def main() -> None:
    """Serve until we are told to stop."""
    log_as_json()
    host, port = _address()
    routing.current()  # a policy that is broken from the start is refused now, not at an alert
    with PrefectApi.from_environment() as api:
        dispatcher = Dispatcher(
            api,
            children=settings().gateway.warm_children,
            lease_seconds=settings().gateway.lease_seconds,
        )
        reconciler = Reconciler() if settings().alertmanager.urls else None
        app = build_app(dispatcher, Ticker(), reconciler)
        collect_rarely()
        Server(configuration(app, host, port), app.state.live).run()


def _address() -> tuple[str, int]:
    """Where to listen: RUNBOOK_GATEWAY__LISTEN, or else host and port of the public address."""
    gateway = settings().gateway
    address = urlsplit(f"//{gateway.listen}" if gateway.listen else gateway.url)
    if address.hostname is None or address.port is None:
        raise BadInput(
            "expected host and port in RUNBOOK_GATEWAY__LISTEN or RUNBOOK_GATEWAY__URL, found "
            f"{gateway.listen or gateway.url!r}"
        )
    return address.hostname, address.port


if __name__ == "__main__":
    main()
