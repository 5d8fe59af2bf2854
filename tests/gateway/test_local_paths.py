"""Where a login leads: nowhere but to us."""

from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.gateway.local_paths import HOME, local_path

OURS = "https://runbook.example"


@pytest.mark.parametrize("path", ["/", "/i/INC-1", "/i/INC-1?said=approved", "/i/a%20b#plan"])
def test_a_path_of_ours_is_kept(path: str) -> None:
    assert local_path(path) == path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "evil",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "\\/evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "\t//evil.example",
        "/i/x\r\nSet-Cookie: a=b",
        " //evil.example",
        "/" + "x" * 2000,
    ],
)
def test_anything_else_leads_home(text: str) -> None:
    assert local_path(text) == HOME


@given(st.text(alphabet="/\\:@.?#%\t\r\n evil", max_size=12))
def test_wherever_it_leads_is_ours(text: str) -> None:
    # a browser drops tabs and line ends and reads a backslash as a slash
    read = local_path(text).translate({9: None, 10: None, 13: None}).replace("\\", "/")
    assert urlsplit(urljoin(OURS, read)).netloc == urlsplit(OURS).netloc
