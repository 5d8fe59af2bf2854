"""Real witness processes on loopback, to be killed and started again, and what is asked of them."""

import http.client
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from deployments.lab.environment import PROJECT, clean_environment, free_port
from deployments.lab.state import private_file
from deployments.witness.__main__ import main
from tasks.domain.ledger import (
    Checkpoint,
    KeyType,
    MerkleTree,
    NoteSigner,
    Trust,
    sign_checkpoint,
    signatures,
)
from tasks.domain.ledger.witness import ADD_CHECKPOINT, AddCheckpoint
from tests.domain.ledger.sample_log import ORIGIN, SIGNER, plain_leaf

TREE = MerkleTree([plain_leaf(b"%d" % each) for each in range(300)])
FORK = MerkleTree([plain_leaf(b"%d" % (each if each < 12 else -each)) for each in range(300)])


def asking(old: int, new: int, tree: MerkleTree = TREE) -> AddCheckpoint:
    """A request that the log signed."""
    note = sign_checkpoint(Checkpoint(ORIGIN, new, tree.root(new)), SIGNER)
    return AddCheckpoint(old, tuple(tree.consistency_proof(old, new)), note)


def log_policy(directory: Path) -> Path:
    """The trust policy that a witness is given: the log and its key."""
    file = directory / "log.toml"
    file.write_text(f'origin = "{ORIGIN}"\n[[log_keys]]\nkey = "{SIGNER.verifier.encoded}"\n')
    return file


def trusting(*witnesses: "WitnessProcess", quorum: int, **more: object) -> Trust:
    """The log's key, and these witnesses."""
    verifiers = tuple(each.signer.verifier for each in witnesses)
    one_key = Trust.in_key(SIGNER.verifier.encoded, ORIGIN).log_keys
    return Trust(ORIGIN, one_key, verifiers, quorum, **more)  # type: ignore[arg-type]  # its fields


@dataclass
class WitnessProcess:
    """One witness, its key and its state in `directory`."""

    name: str
    directory: Path
    port: int = field(default_factory=free_port)
    popen: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True)
        self.signer = NoteSigner.generate(self.name, KeyType.WITNESS)
        self.key = private_file(self.directory / "witness.key", self.signer.encoded)
        self.log = log_policy(self.directory)
        self.state = self.directory / "state"
        assert main(["--key", str(self.key), "--state", str(self.state), "--new"]) == 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def launch(self, *more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "deployments.witness", "--key", str(self.key)]
        command += ["--state", str(self.state), "--log", str(self.log), "--port", str(self.port)]
        return subprocess.Popen(
            [*command, *more],
            cwd=PROJECT,
            env=clean_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def start(self) -> "WitnessProcess":
        self.popen = self.launch()
        until = time.monotonic() + 30
        while True:
            try:
                assert self.send(b"", method="GET", path="/health")[0] == 200
            except OSError:
                assert self.popen.poll() is None, self.popen.stderr
                assert time.monotonic() < until
                time.sleep(0.02)
            else:
                return self

    def kill(self) -> None:
        """SIGKILL, at whatever instruction it is."""
        if self.popen is not None:
            self.popen.kill()
            self.popen.communicate()
            self.popen = None

    def send(
        self, body: bytes, *, method: str = "POST", path: str = ADD_CHECKPOINT
    ) -> tuple[int, bytes, str]:
        """Status, body and content type."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers.get("content-type", "")
        except http.client.IncompleteRead as cut:
            raise ConnectionResetError("the answer was cut off within its body") from cut
        finally:
            connection.close()

    def ask(self, old: int, new: int, tree: MerkleTree = TREE) -> int:
        """The status; a 200 is a cosignature that verifies."""
        request = asking(old, new, tree)
        status, body, _ = self.send(request.encoded)
        if status == 200:
            note = request.note + body.decode()
            assert len(signatures(note, [self.signer.verifier])) == 1
        return status
