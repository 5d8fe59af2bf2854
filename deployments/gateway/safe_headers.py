"""What no answer leaves without: nobody keeps it, nobody guesses what it is.

An answer that says otherwise of itself (a page, a report, a file of ours) is right about it.
"""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_DEFAULTS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class SafeHeaders:
    """ASGI middleware: it touches the head of an answer and passes the body on as it comes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the defaults where the application has not said it."""

        async def safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in _DEFAULTS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, safely if scope["type"] == "http" else send)
