"""What wakes the dispatcher: PostgreSQL's NOTIFY of the intake, and our own wish to stop."""

import selectors
import socket
import time

import psycopg
from psycopg import sql

from tasks.settings import settings
from tasks.work.incidents import CHANNEL

_RECONNECT_SECONDS = 1.0


class Wakeups:
    """Two readable things in a selector. Without PostgreSQL polling goes on; we reconnect."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._ours, self._theirs = socket.socketpair()
        self._listener: psycopg.Connection | None = None
        self._next_try = 0.0
        selector.register(self._ours, selectors.EVENT_READ, self._ours)

    def wake(self) -> None:
        """End the wait now; may be called from any thread."""
        self._theirs.send(b"!")

    def connect(self) -> None:
        """Listen, if we do not; at most one try per second."""
        if self._listener is not None or time.monotonic() < self._next_try:
            return
        self._next_try = time.monotonic() + _RECONNECT_SECONDS
        listener = psycopg.connect(
            settings().responder.dsn.get_secret_value(),
            autocommit=True,
            application_name="runbook-dispatcher",
            connect_timeout=5,
        )
        listener.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
        self._listener = listener
        self._selector.register(listener.fileno(), selectors.EVENT_READ, listener)

    def drain(self, source: object) -> None:
        """Swallow what woke us; what it was about is read from the outbox."""
        if source is self._ours:
            self._ours.recv(1024)
        elif self._listener is not None:
            try:
                for _ in self._listener.notifies(timeout=0):
                    pass
            except psycopg.OperationalError:
                self._drop()

    def close(self) -> None:
        """Let go of both."""
        self._drop()
        self._selector.unregister(self._ours)
        self._ours.close()
        self._theirs.close()

    def _drop(self) -> None:
        if self._listener is None:
            return
        for key in tuple(self._selector.get_map().values()):
            if key.data is self._listener:
                self._selector.unregister(key.fileobj)
        self._listener.close()
        self._listener = None
