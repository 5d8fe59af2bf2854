"""Decrypting with the installed gpg: as a stream, without a shell, without leaving an agent behind.

gpg cannot use a secret key without gpg-agent, which outlives it. So the agent is started around it
(`gpg-agent --daemon -- gpg ...`), ends with it, and is told to end at once when we are done; an
agent that somebody else runs for the same keys is used and left alone.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tasks.clients.errors import Denied, Malformed, NotFound, Transient
from tasks.clients.kept_process import Bounds, end_kept, start_kept

_CHUNK = 1024 * 1024
_EXCERPT = 400
_MEMORY_MB = 2048
_COMPLAINTS_MB = 16
_ASK_SECONDS = 10.0
_GONE_SECONDS = 5.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Gpg:
    """The program, its home (keys), and a file with the passphrase, if there is one."""

    program: str
    home: Path
    passphrase_file: Path | None = None

    def decrypted(self, source: Path, *, timeout_seconds: float) -> Iterator[bytes]:
        """The content in chunks. It counts only when the iterator has ended without an error.

        Raises NotFound without the program, Denied without the key or its passphrase, Malformed
        for a damaged or manipulated file, Transient when time ran out.
        """
        command = [
            *(self._beside("gpg"), "--homedir", str(self.home), "--batch", "--no-tty", "--quiet"),
            *("--no-autostart", "--no-options", *self._passphrase()),
            *("--output", "-", "--decrypt", "--", str(source.absolute())),
        ]
        with self._agent() as around, tempfile.TemporaryFile() as complaints:
            process = start_kept(
                [*around, *command],
                env={"PATH": os.defpath, "LC_ALL": "C", "HOME": str(self.home)},
                stdout=subprocess.PIPE,
                stderr=complaints,
                bounds=Bounds(_MEMORY_MB, int(timeout_seconds) + 1, _COMPLAINTS_MB),
            )
            late = threading.Timer(timeout_seconds, process.terminate)
            late.start()
            try:
                assert process.stdout is not None  # noqa: S101  it is a pipe, see above
                while chunk := process.stdout.read(_CHUNK):
                    yield chunk
                process.wait()
            finally:
                late.cancel()
                end_kept(process)
                if process.stdout is not None:
                    process.stdout.close()
            if process.returncode != 0:
                complaints.seek(0)
                raise self._failure(source, process.returncode, complaints.read(4 * _EXCERPT))

    def _passphrase(self) -> list[str]:
        if self.passphrase_file is None:
            return ["--pinentry-mode", "error"]
        return ["--pinentry-mode", "loopback", "--passphrase-file", str(self.passphrase_file)]

    @contextmanager
    def _agent(self) -> Iterator[list[str]]:
        """What to put before gpg's command so that an agent lives exactly as long."""
        if self._agent_lives():
            yield []  # somebody's own
            return
        try:
            yield [
                *(self._beside("gpg-agent"), "--homedir", str(self.home), "--no-options"),
                *("--quiet", "--batch", "--allow-loopback-pinentry", "--daemon", "--"),
            ]
        finally:
            self._tell("gpgconf", "--kill", "gpg-agent")
            until = time.monotonic() + _GONE_SECONDS
            while self._agent_lives() and time.monotonic() < until:
                time.sleep(_POLL_SECONDS)  # else the next one would take the dying one for alive

    def _agent_lives(self) -> bool:
        # its exit status is 0 without an agent too, in some versions
        answer = self._tell("gpg-connect-agent", "--no-autostart", "GETINFO pid", "/bye")
        return b"OK" in answer.split()

    def _tell(self, program: str, *arguments: str) -> bytes:
        command = [self._beside(program), "--homedir", str(self.home), *arguments]
        done = subprocess.run(
            command,
            env={"PATH": os.defpath, "LC_ALL": "C", "HOME": str(self.home)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ASK_SECONDS,
            check=False,
        )
        return done.stdout

    def _beside(self, name: str) -> str:
        """A program of the same installation."""
        found = shutil.which(self.program)
        if found is None:
            raise NotFound(
                f"expected the program {self.program!r}, found none: install gnupg or correct "
                "RUNBOOK_DATABASE__GPG_PROGRAM"
            )
        if name == "gpg":
            return found
        return str(Path(found).with_name(name))

    def _failure(
        self, source: Path, status: int, complaint: bytes
    ) -> Denied | Malformed | Transient:
        text = " ".join(complaint.decode(errors="replace").split())[:_EXCERPT]
        message = f"expected gpg to decrypt {source.name}, found status {status}: {text}"
        if status == -signal.SIGKILL:
            return Transient(f"{message} (stopped)")
        if any(mark in text for mark in ("No secret key", "passphrase", "No pinentry", "Bad PIN")):
            return Denied(f"{message}; add the secret key to {self.home}, or its passphrase file")
        return Malformed(f"{message}; choose another backup")
