"""Every other way to reach people, through Apprise: e-mail, Teams, SMS and what else it knows.

The target's own format decides how the text is escaped, and Apprise does that from plain text to
HTML; what would be Markdown has its marks escaped here, which Apprise leaves. A target's URL holds
its password, so only its kind is ever named.
"""

import logging
import re
from urllib.parse import urlsplit

from pydantic import SecretStr

from tasks.clients.errors import Denied, Transient

_KIND = re.compile(r"[a-z][a-z0-9+.-]{0,30}")
_MARKS = re.compile(r"([\\`*_{}\[\]()<>#+!|~-])")
_TITLE_LIMIT = 120


def kind_of(url: SecretStr) -> str:
    """The scheme of an Apprise URL, such as mailtos or msteams: all that may be shown of it."""
    scheme = urlsplit(url.get_secret_value()).scheme
    return scheme if _KIND.fullmatch(scheme) else "unknown"


def send(url: SecretStr, title: str, text: str, *, timeout_seconds: float) -> None:
    """Plain text to one target. Raises Denied for a URL that is none, Transient when not taken.

    Apprise says only whether it worked: a wrong password looks like a server that is away, and
    is tried again as often. `title` holds no text of an alert: nobody escapes it.
    """
    import apprise  # noqa: PLC0415 - a third of a second, for those who have such a target

    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # its warnings quote what was sent
    target = apprise.Apprise.instantiate(url.get_secret_value())
    if target is None:
        raise Denied(
            f"expected an Apprise URL, found one of kind {kind_of(url)} that Apprise does not "
            "take: correct RUNBOOK_REACH__URLS"
        )
    target.socket_connect_timeout = target.socket_read_timeout = timeout_seconds
    is_markdown = target.notify_format == apprise.NotifyFormat.MARKDOWN
    body = _MARKS.sub(r"\\\1", text) if is_markdown else text
    sender = apprise.Apprise(servers=target)
    plain = apprise.NotifyFormat.TEXT
    if not sender.notify(title=title[:_TITLE_LIMIT], body=body, body_format=plain):
        raise Transient(f"expected {kind_of(url)} to take a message, found it not taken")
