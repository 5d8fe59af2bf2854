"""A browser without a screen, for the pages: it has what a page's forms have, and no more."""

from html.parser import HTMLParser

import httpx


class Browser:
    """A browser without a screen: a cookie, an Origin, and the fields of the page's own forms."""

    def __init__(self, gateway: str, token: str) -> None:
        headers = {"Accept": "text/html", "Origin": gateway}
        self.client = httpx.Client(base_url=gateway, headers=headers, timeout=30)
        answer = self.client.post("/login", data={"token": token})
        assert answer.status_code == 303, answer.text

    def get(self, path: str) -> httpx.Response:
        return self.client.get(path)

    def send(self, page: str, action: str, **fields: str) -> httpx.Response:
        """Fill in the form of this action on the page and send it."""
        forms = Forms.on(self.get(page).text)
        return self.client.post(action, data=forms[action] | fields)


class Forms(HTMLParser):
    """The hidden fields of every form, by the form's action."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, dict[str, str]] = {}
        self._action = ""

    @classmethod
    def on(cls, text: str) -> dict[str, dict[str, str]]:
        forms = cls()
        forms.feed(text)
        return forms.found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "form":
            self._action = named.get("action") or ""
            self.found[self._action] = {}
        if tag == "input" and named.get("type") == "hidden":
            self.found[self._action][named["name"] or ""] = named.get("value") or ""
