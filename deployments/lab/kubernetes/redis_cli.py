"""`redis-cli COMMAND ...` for the lab's Redis pod: no wheel has one. Standard library only.

Environment: LAB_REDIS_PORT, and REDISCLI_AUTH as the real one reads it. Answers and exit codes are
those of the real one without a terminal: 1 when there is no server, 0 otherwise.
"""

import os
import socket
import sys
from typing import BinaryIO

_SECONDS = 5.0


def main() -> int:
    """Send one command and print its answer."""
    port = int(os.environ.get("LAB_REDIS_PORT", "6379"))
    password = os.environ.get("REDISCLI_AUTH", "")
    try:
        with socket.create_connection(("127.0.0.1", port), _SECONDS) as server:
            answers = server.makefile("rb")
            if password:
                server.sendall(_encoded(["AUTH", password]))
                _answer(answers)
            server.sendall(_encoded(sys.argv[1:]))
            print(_answer(answers))
    except OSError as error:
        reason = error.strerror or str(error)
        print(f"Could not connect to Redis at 127.0.0.1:{port}: {reason}", file=sys.stderr)
        return 1
    return 0


def _encoded(words: list[str]) -> bytes:
    parts = [word.encode() for word in words]
    found = b"*%d\r\n" % len(parts)
    return found + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def _answer(answers: BinaryIO) -> str:
    line = answers.readline()
    if not line:
        raise OSError("Server closed the connection")
    kind, rest = line[:1], line[1:].strip().decode("utf-8", "replace")
    if kind == b"$":
        size = int(rest)
        return "" if size < 0 else answers.read(size + 2)[:-2].decode("utf-8", "replace")
    if kind == b"*":
        return "\n".join(_answer(answers) for _ in range(int(rest)))
    return rest


if __name__ == "__main__":
    sys.exit(main())
