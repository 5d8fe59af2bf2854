"""A line on loopback that can be cut, mended and held up: what is behind it stays as it is."""

import contextlib
import socket
import threading
from collections.abc import Iterator


class Relay:
    """Passes connections on to a port; `lines` are those that are open."""

    def __init__(self, port: int) -> None:
        self._behind = port
        self._flows = threading.Event()
        self._flows.set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self.lines: list[socket.socket] = []
        self._accept()

    def cut(self) -> None:
        """End every line, and refuse new ones."""
        self._flows.set()
        self._end(self._listening)
        for line in tuple(self.lines):
            self._end(line)

    def hold(self) -> None:
        """Let nothing through any more, as if the other side had fallen silent."""
        self._flows.clear()

    def mend(self) -> None:
        """Take connections again, at the same port."""
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self._accept()

    def _accept(self) -> None:
        threading.Thread(target=self._serve, args=(self._listening,), daemon=True).start()

    def _serve(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):  # cut
            while True:
                near, _ = listening.accept()
                far = socket.create_connection(("127.0.0.1", self._behind))
                self.lines.append(near)
                for source, target in ((near, far), (far, near)):
                    threading.Thread(
                        target=self._pump, args=(source, target, near), daemon=True
                    ).start()

    def _pump(self, source: socket.socket, target: socket.socket, line: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                self._flows.wait()
                target.sendall(piece)
        self._end(source)
        self._end(target)
        with contextlib.suppress(ValueError):
            self.lines.remove(line)

    @staticmethod
    def _end(one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


@contextlib.contextmanager
def relay(port: int) -> Iterator[Relay]:
    """A whole line, cut in the end."""
    line = Relay(port)
    try:
        yield line
    finally:
        line.cut()
