"""An S3 server of one bucket that lists keys which real servers refuse to store, and serves any."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit

from pydantic import SecretStr

from tasks.sections.systems import StoreSettings

BODY = b"hostile"
_ENTRY = (
    "<Contents><Key>{}</Key><LastModified>2026-11-22T03:00:00.000Z</LastModified>"
    '<ETag>"e"</ETag><Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>'
)
_DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


@contextmanager
def hostile_bucket(
    keys: Sequence[str], *, shows_versions: bool = True
) -> Iterator[tuple[StoreSettings, list[str]]]:
    """Settings of the server, and the keys that were asked for so far."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = parse_qs(url.query, keep_blank_values=True)
            if "list-type" in query:
                self._send(_listing(keys, query), "application/xml")
            elif ("versions" in query or "versioning" in query) and not shows_versions:
                self._send(_DENIED, "application/xml", 403)
            elif "versions" in query or "versioning" in query:
                self._send(b"<ListVersionsResult></ListVersionsResult>", "application/xml")
            else:
                asked.append(unquote(url.path).partition("/bucket/")[2])
                self._send(BODY, "application/octet-stream")

        def _send(self, body: bytes, kind: str, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", '"e"')
            self.send_header("Last-Modified", "Sun, 22 Nov 2026 03:00:00 GMT")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield (
            StoreSettings(
                endpoint_url=f"http://127.0.0.1:{server.server_port}",
                access_key_id=SecretStr("tester"),
                secret_access_key=SecretStr("tester-secret"),
            ),
            asked,
        )
    finally:
        server.shutdown()
        server.server_close()
        serving.join()


def _listing(keys: Sequence[str], query: dict[str, list[str]]) -> bytes:
    prefix = query.get("prefix", [""])[0]
    entries = ""
    if "delimiter" not in query:
        shown = [each for each in keys if each.startswith(prefix)]
        entries = "".join(_ENTRY.format(quote(each), len(BODY)) for each in shown)
    return (
        "<ListBucketResult><Name>bucket</Name><IsTruncated>false</IsTruncated>"
        f"<EncodingType>url</EncodingType>{entries}</ListBucketResult>"
    ).encode()
