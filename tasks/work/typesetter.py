"""typst in a process of its own: an order in JSON comes in, a PDF goes out.

typst remembers what it has set for ten documents more, a few dozen megabytes for each report of
ours, and has no way to make it forget: a process that stays would grow past half a gigabyte.

The order is `{"template": path, "report": JSON as text, "at": ISO 8601}`. What typst has to
complain of is on stderr, and the status is then 1.
"""

import json
import sys
from datetime import datetime
from pathlib import Path

import typst


def main() -> int:
    """Read stdin, write stdout; 0, or 1 when typst refuses."""
    order = json.load(sys.stdin)
    template = Path(order["template"])
    try:
        pdf = typst.compile(
            template,
            root=template.parent,
            format="pdf",
            sys_inputs={"report": order["report"]},
            timestamp=datetime.fromisoformat(order["at"]),
            pdf_standards=["ua-1"],
        )
    except typst.TypstError as error:
        sys.stderr.write(str(error.message))
        return 1
    sys.stdout.buffer.write(pdf)
    return 0


if __name__ == "__main__":
    sys.exit(main())
