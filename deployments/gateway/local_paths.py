"""Where a login leads afterwards: a path of ours, whatever the address asked for."""

import re

HOME = "/"
_LIMIT = 1000
# One slash and then neither another nor a backslash, which browsers read as one: `//evil` and
# `/\\evil` name a host. Nor what a browser would drop (tabs, line ends) or a header cannot hold.
_LOCAL = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*", re.ASCII)


def local_path(text: str) -> str:
    """The path with its query when it stays with us, else HOME."""
    return text if len(text) <= _LIMIT and _LOCAL.fullmatch(text) else HOME
