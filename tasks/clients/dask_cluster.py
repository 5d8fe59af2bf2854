"""A Dask cluster as those see it who give it work: who is there, who began what, what came of it.

Nothing here trusts what workers say. Whoever controls a worker or the scheduler can run code in
every process that is connected, ours included, for Dask's own messages are pickled: only TLS with
certificates for both sides keeps others out.
"""

from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Any

from distributed import Client, Future, Security, get_worker

from tasks.clients.errors import Transient
from tasks.sections.dask import DaskSettings

_ASK_SECONDS = 10.0
_ERROR_MARKS = 300

PENDING, DONE, FAILED, GONE = "pending", "finished", "error", "gone"
"""What became of a piece of work; GONE: the cluster knows it no more."""


def security(settings: DaskSettings) -> Security:
    """Certificates for both sides when the scheduler is asked by TLS; nothing without it."""
    if not settings.is_encrypted:
        return Security()
    return Security(
        require_encryption=True,
        tls_ca_file=str(settings.ca_file),
        tls_client_cert=str(settings.cert_file),
        tls_client_key=str(settings.key_file),
    )


def tell_begun(topic: str, key: str) -> None:
    """On a worker: say to whoever listens to `topic` that `key` begins here."""
    worker = get_worker()
    worker.log_event(topic, {"key": key, "worker": worker.address})


class Work:
    """One piece of work that was given to the cluster."""

    def __init__(self, future: "Future[bytes]") -> None:
        self._future = future

    @property
    def state(self) -> str:
        """PENDING, DONE, FAILED or GONE."""
        status = str(self._future.status)
        return status if status in (PENDING, DONE, FAILED) else GONE

    def answer(self) -> object:
        """What came back, which may be anything. Transient when it cannot be fetched in time."""
        try:
            return self._future.result(timeout=6 * _ASK_SECONDS)
        except Exception as error:  # whatever a worker raised, and Dask's own
            raise Transient(f"the answer was lost on its way: {_said(error)}") from error

    def failure(self) -> str:
        """Why it failed, as Dask tells it: workers that died over it, code that they lack."""
        try:
            return _said(self._future.exception(timeout=_ASK_SECONDS))
        except Exception as error:  # noqa: BLE001 - an error that cannot even be read is a text too
            return _said(error)

    def holder(self) -> str:
        """The worker that has the answer, as the scheduler knows it; empty when nobody has."""
        try:
            known = self._future.client.who_has([self._future], callback_timeout=_ASK_SECONDS)
            return str(next((each for found in known.values() for each in found), ""))
        except Exception:  # noqa: BLE001 - without a name the answer is refused all the same
            return ""

    def drop(self) -> None:
        """Let the cluster forget it, running or done."""
        self._future.cancel()
        self._future.release()


class DaskCluster:
    """The cluster behind a connected client, for one verification; not for several threads."""

    def __init__(self, client: Client, topic: str) -> None:
        self._client = client
        self._topic = topic
        self._begun: deque[object] = deque(maxlen=100_000)
        client.subscribe_topic(topic, self._begun.append)

    def close(self) -> None:
        """Stop listening; the connection is its owner's."""
        self._client.unsubscribe_topic(self._topic)

    def workers(self) -> Mapping[str, int]:
        """Addresses of the workers and how many threads each has; Transient without a scheduler."""
        try:
            found = self._client.nthreads(callback_timeout=_ASK_SECONDS)
        except Exception as error:  # time-outs, closed connections, a client that gave up
            raise Transient(f"the Dask scheduler does not answer: {_said(error)}") from error
        return {str(address): int(threads) for address, threads in dict(found).items()}

    def submit(
        self, key: str, act: Callable[..., bytes], work: object, among: Collection[str] | None
    ) -> Work:
        """Have `act(topic, key, work)` done by one of the workers `among`, by any without."""
        future = self._client.submit(
            act,
            self._topic,
            key,
            work,
            key=key,
            pure=False,
            workers=None if among is None else sorted(among),
        )
        return Work(future)

    def begun(self) -> list[tuple[str, str]]:
        """(key, worker) of the work that began since the last call, as workers tell it."""
        found = []
        while self._begun:
            told: Any = self._begun.popleft()
            message = told[1] if isinstance(told, list | tuple) and len(told) > 1 else None
            if isinstance(message, dict):
                found.append((str(message.get("key"))[:200], str(message.get("worker"))[:200]))
        return found


def _said(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {ascii(str(error))[1:-1][:_ERROR_MARKS]}"
