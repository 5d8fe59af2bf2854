"""Senders of alerts, as many at once as said, each with a connection that it keeps.

Run as a process of its own: `python -m tests.benchmarks.alert_load URL TOKEN RECEIVER FIRST
COUNT SENDERS COMPONENTS`. Prints one line of JSON: seconds for all, statuses, and the seconds of
each answer. It speaks HTTP by hand, since a client library costs more than the server under test.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit


def body(number: int, components: int, receiver: str) -> bytes:
    """A notification as Alertmanager 0.25 sends it, with one alert of its own."""
    name = f"Component{number % components:02d}"
    labels = {
        "alertname": name,
        "cluster": "production",
        "instance": f"10.0.0.{number % 250}:9100",
        "job": "node",
        "severity": "critical",
        "shard": f"s{number}",
    }
    alert = {
        "status": "firing",
        "labels": labels,
        "annotations": {"description": f"value {number}", "summary": "it does not answer"},
        "startsAt": "2026-11-23T12:05:46.114Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1",
        "fingerprint": f"{number:016x}",
    }
    sent = {
        "receiver": receiver,
        "status": "firing",
        "alerts": [alert],
        "groupLabels": {"alertname": name},
        "commonLabels": labels,
        "commonAnnotations": alert["annotations"],
        "externalURL": "http://alertmanager:9093",
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{name}"}}',
        "truncatedAlerts": 0,
    }
    return json.dumps(sent).encode()


@dataclass
class Load:
    """What was sent so far, and how long each answer took."""

    host: str
    port: int
    head: bytes
    bodies: Iterator[bytes]
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    async def send(self) -> None:
        """One sender: the next body as soon as the last is answered."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        for content in self.bodies:
            began = time.perf_counter()
            writer.write(self.head + b"Content-Length: %d\r\n\r\n" % len(content) + content)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = answer.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            self.seconds.append(time.perf_counter() - began)
            self.statuses[int(answer.split(b" ", 2)[1])] += 1
        writer.close()


async def main(url: str, token: str, receiver: str, *numbers: str) -> None:
    """Send them all and print how it went."""
    first, count, senders, components = map(int, numbers)
    address = urlsplit(url)
    assert address.hostname is not None
    assert address.port is not None
    head = (
        f"POST /alerts HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {token}\r\n"
        "User-Agent: Alertmanager/0.25.0\r\nContent-Type: application/json\r\n"
    ).encode()
    bodies = iter([body(number, components, receiver) for number in range(first, first + count)])
    load = Load(address.hostname, address.port, head, bodies)
    began = time.perf_counter()
    await asyncio.gather(*(load.send() for _ in range(senders)))
    whole = time.perf_counter() - began
    print(json.dumps({"whole": whole, "statuses": load.statuses, "seconds": load.seconds}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
