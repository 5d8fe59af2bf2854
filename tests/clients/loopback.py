"""A tiny server on loopback that answers each connection with what a test says, byte for byte."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Answering = Callable[[socket.socket], None]


@contextmanager
def answering(answer: Answering) -> Iterator[int]:
    """The port of a server that reads a request and lets `answer` write; ends with the block."""
    listening = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()
    threads: list[threading.Thread] = []
    taken: list[socket.socket] = []

    def serve_one(connection: socket.socket) -> None:
        with connection, suppress(OSError):  # the client left, as it should
            connection.recv(65_536)
            answer(connection)

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            if over.is_set():
                connection.close()
                return
            taken.append(connection)
            threads.append(threading.Thread(target=serve_one, args=(connection,)))
            threads[-1].start()

    accepting = threading.Thread(target=serve)
    accepting.start()
    port = int(listening.getsockname()[1])
    try:
        yield port
    finally:
        over.set()
        socket.create_connection(("127.0.0.1", port)).close()  # wakes the accepting thread
        accepting.join()
        listening.close()
        for connection in taken:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


def sending(*parts: bytes) -> Answering:
    """Send these bytes and close."""
    return lambda connection: connection.sendall(b"".join(parts))


def dripping(start: bytes, piece: bytes, seconds: float, count: int) -> Answering:
    """Send `start`, then `count` times `piece` with a pause before each."""

    def drip(connection: socket.socket) -> None:
        connection.sendall(start)
        for _ in range(count):
            time.sleep(seconds)
            connection.sendall(piece)

    return drip


def http(status: int, body: bytes, *headers: str) -> bytes:
    """An HTTP/1.1 answer with its length."""
    lines = [f"HTTP/1.1 {status} Said", f"content-length: {len(body)}", "connection: close"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body
