"""A witness: cosigns the heads of logs that only ever grow.

    python -m deployments.witness --key FILE --state DIRECTORY --new
    python -m deployments.witness --key FILE --state DIRECTORY --log TRUST [--log TRUST ...]

FILE holds `PRIVATE+KEY+...` of type 4, mode 0600. TRUST is a trust policy (TOML) of which origin
and log keys count. `--new` makes the state of a new key and ends. Run it on another machine and by
other people than the sealer: a witness of one's own says what one wants.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from deployments.key_files import read_signer
from deployments.serving import serve
from deployments.witness.service import Witness, WitnessServer
from deployments.witness.state import State, make_state
from tasks.domain.errors import BadInput
from tasks.domain.ledger import KeyType, Trust
from tasks.domain.ledger.trust import MAX_TRUST_BYTES


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; 2 when it cannot begin."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    given = _parser().parse_args(arguments)
    try:
        signer = read_signer(given.key, KeyType.WITNESS)
        if given.new:
            make_state(given.state, signer.verifier)
            return 0
        logs = _logs(given.log)
        witness = Witness(signer, State(given.state, signer.verifier), logs)
        server = WitnessServer((given.host, given.port), witness)
    except (BadInput, OSError) as error:
        print(f"witness: {error}", file=sys.stderr)
        return 2
    serve(server)
    return 0


def _logs(files: Sequence[Path]) -> dict[str, Trust]:
    logs: dict[str, Trust] = {}
    for file in files:
        with file.open("rb") as opened:
            trust = Trust.parse(opened.read(MAX_TRUST_BYTES + 1).decode("utf-8", "replace"))
        if trust.origin in logs:
            raise BadInput(f"expected each log once, found {trust.origin!r} twice")
        logs[trust.origin] = trust
    if not logs:
        raise BadInput("expected at least one --log: a witness without logs signs nothing")
    return logs


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m deployments.witness", description=__doc__)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--new", action="store_true")
    parser.add_argument("--log", type=Path, action="append", default=[])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8790)
    return parser


if __name__ == "__main__":
    sys.exit(main())
