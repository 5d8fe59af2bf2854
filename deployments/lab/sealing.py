"""The lab's sealer and its witnesses: real services, with keys, state and logins of their own.

What they cannot show on one machine is that they belong to different people: the separation of
sealer, witnesses and anchor is simulated here, and the lab says so.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from deployments.lab.environment import LOOPBACK, clean_environment, free_port
from deployments.lab.errors import LabError
from deployments.lab.postgres import new_password
from deployments.lab.processes import Child, Processes
from deployments.lab.prometheus import answers
from deployments.lab.state import private_file
from deployments.witness.state import make_state
from tasks.clients import sealer
from tasks.domain.errors import RunbookError
from tasks.domain.ledger import KeyType, NoteSigner, NoteVerifier
from tasks.sections.house import SealerSettings

WITNESSES = ("witness-one.lab", "witness-two.lab")
QUORUM = 2
MAX_AGE_HOURS = 24

_START_SECONDS = 60.0
_SEALING_SECONDS = 300.0


@dataclass(slots=True)
class Witness:
    """One witness: a process, a key, a state directory."""

    name: str
    directory: Path
    processes: Processes
    port: int = field(default_factory=free_port)
    signer: NoteSigner = field(init=False)
    child: Child | None = None

    def __post_init__(self) -> None:
        self.signer = NoteSigner.generate(self.name, KeyType.WITNESS)

    @property
    def url(self) -> str:
        """Its submission prefix."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def state(self) -> Path:
        """What it remembers."""
        return self.directory / "state"

    def start(self, trusts: list[Path]) -> None:
        """Start and wait until it answers; the first time with a new state."""
        key = self.directory / "witness.key"
        if not key.exists():
            self.directory.mkdir(mode=0o700, parents=True)
            private_file(key, self.signer.encoded + "\n")
            make_state(self.state, self.signer.verifier)
        logs = [part for trust in trusts for part in ("--log", str(trust))]
        self.child = self.processes.start(
            self.name,
            [
                *(sys.executable, "-m", "deployments.witness"),
                *("--key", str(key), "--state", str(self.state)),
                *("--port", str(self.port), *logs),
            ],
            environment=clean_environment(),
        )
        self.child.wait_ready(lambda: answers(f"{self.url}/health"), _START_SECONDS)

    def stop(self) -> None:
        """Kill it; what it remembers stays."""
        if self.child is not None:
            self.child.kill()
            self.processes.forget(self.child)
            self.child = None


@dataclass(slots=True)
class SealerService:
    """The sealer: a process with the logs' keys. `variables` are its settings."""

    processes: Processes
    variables: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    token: str = field(default_factory=new_password)
    child: Child | None = None

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def settings(self) -> SealerSettings:
        """How the responder reaches it."""
        return SealerSettings(
            url=self.url, token=SecretStr(self.token), timeout_seconds=_SEALING_SECONDS
        )

    def start(self) -> None:
        """Start and wait until it answers."""
        self.child = self.processes.start(
            "sealer",
            [sys.executable, "-m", "deployments.sealer"],
            environment={
                **clean_environment(),
                **self.variables,
                "SEALER_PORT": str(self.port),
                "SEALER_TOKEN": self.token,
            },
        )
        self.child.wait_ready(lambda: answers(f"{self.url}/health"), _START_SECONDS)

    def stop(self) -> None:
        """Stop it, so that it can be started again on the same port."""
        if self.child is not None:
            self.child.stop()
            self.processes.forget(self.child)
            self.child = None

    def seal(self, log: str) -> int:
        """Have a log sealed; its size. LabError when it is not."""
        try:
            return sealer.seal(self.settings, log).size
        except RunbookError as error:
            raise LabError(f"expected the {log} log to be sealed, found: {error}") from error


def trust_policy(origin: str, log: NoteVerifier, witnesses: list[NoteVerifier]) -> str:
    """TOML: the log's key, the witnesses, all of whom must have signed."""
    lines = [
        f"origin = {json.dumps(origin)}",
        f"quorum = {QUORUM}",
        f"max_age_hours = {MAX_AGE_HOURS}",
        *("", "[[log_keys]]", f"key = {json.dumps(log.encoded)}"),
    ]
    for each in witnesses:
        lines += ["", "[[witnesses]]", f"key = {json.dumps(each.encoded)}"]
    return "\n".join(lines) + "\n"


def states_of(witnesses: list[Witness]) -> Mapping[Path, bytes]:
    """What the witnesses remember, file by file, to be put back by `put_back`."""
    return {file: file.read_bytes() for each in witnesses for file in each.state.iterdir()}


def put_back(witnesses: list[Witness], states: Mapping[Path, bytes]) -> None:
    """Make the witnesses forget what came since: for a lab that begins anew with its old logs."""
    for each in witnesses:
        for file in each.state.iterdir():
            if file not in states:
                file.unlink()
    for file, content in states.items():
        if file.read_bytes() != content:
            file.write_bytes(content)
