"""The sealer: the only identity that holds the logs' signing keys.

    python -m deployments.sealer

Settings: `deployments/sealer/configuration.py`. Whoever asks can have new rows sealed, and have put
back what the signed heads prove, nothing else: neither what is signed nor what is written is in the
request.
"""

import logging
import sys

from deployments.sealer.configuration import Configuration
from deployments.sealer.service import SealerServer, SealingOffice
from deployments.serving import serve
from tasks.domain.errors import RunbookError
from tasks.settings import settings


def main() -> int:
    """Serve until SIGTERM; 2 when it cannot begin."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        known = Configuration.read()
        office = SealingOffice(known, settings())
        server = SealerServer((known.host, known.port), known.token, office)
    except (RunbookError, OSError) as error:
        print(f"sealer: {error}", file=sys.stderr)
        return 2
    serve(server)
    return 0


if __name__ == "__main__":
    sys.exit(main())
