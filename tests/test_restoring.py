"""Who follows a restore asks for what is new, and less often while nothing happens."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr
from rich.console import Console

from deployments.console import Gateway
from deployments.restoring import Followed

INCIDENT = "INC-20260314-030012-a1b2"
AT = "2026-03-14T03:00:12+00:00"


def note(seq: int) -> dict[str, Any]:
    data = {"text": f"note {seq}"}
    return {"seq": seq, "at": AT, "kind": "note", "actor": "runbook", "data": data}


@contextmanager
def journal_of(facts: list[dict[str, Any]], asked: list[int]) -> Iterator[Gateway]:
    """A gateway with one incident, which keeps what it was asked for."""

    class Incident(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            after = int(parse_qs(urlsplit(self.path).query)["after"][0])
            asked.append(after)
            newer = [each for each in facts if each["seq"] > after]
            body = json.dumps({"stage": "investigating", "facts": newer}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Incident)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield Gateway(f"http://127.0.0.1:{server.server_port}", SecretStr("t"))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_each_fact_is_asked_for_once_and_all_are_kept() -> None:
    facts, asked = [note(3), note(5)], list[int]()
    with journal_of(facts, asked) as gateway:
        console = Console(record=True, width=200, quiet=False, file=None)
        followed = Followed(gateway, INCIDENT, console)
        followed.look()
        facts.append(note(8))
        followed.look()
        followed.look()
    assert asked == [-1, 5, 8]
    assert followed.told == facts
    assert [fact.seq for fact in followed.facts] == [3, 5, 8]
    text = console.export_text()
    assert [text.count(f"note {seq}") for seq in (3, 5, 8)] == [1, 1, 1]


def test_a_plan_that_waits_for_an_hour_is_asked_about_ever_more_seldom_and_news_wake_up() -> None:
    facts, asked = [note(3)], list[int]()
    with journal_of(facts, asked) as gateway:
        followed = Followed(gateway, INCIDENT, Console(record=True))
        pauses = []
        for _ in range(10):
            followed.look()
            pauses.append(followed.pause)
        assert pauses == sorted(pauses)
        assert (pauses[0], pauses[-1]) == (0.5, 5.0)
        facts.append(note(4))
        followed.look()
    assert followed.pause == 0.5
