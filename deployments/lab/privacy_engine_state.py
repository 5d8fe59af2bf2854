"""What the lab's privacy engine remembers beside its ledger: halted, epoch, retired, its noise.

One small JSON file, so that it survives the process that serves it and a fault can break it.
"""

import json
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

FILE = "privacy-engine.json"


@dataclass(frozen=True, slots=True)
class EngineState:
    """`noise_factor`: how much of the noise that is claimed is really added; 1.0 is honest."""

    halted_by: str = ""
    reason: str = ""
    epoch: int = 1
    retired: tuple[str, ...] = ()
    noise_factor: float = 1.0

    @property
    def halted(self) -> bool:
        """Whether every release is refused."""
        return bool(self.halted_by)


class Engine:
    """The state, read anew for each request and written as a whole. Safe in several threads."""

    def __init__(self, file: Path | None) -> None:
        """Without a file the engine is as it is delivered, and cannot be told anything."""
        self._file = file
        self._lock = threading.Lock()

    def now(self) -> EngineState:
        """As it is now."""
        if self._file is None or not self._file.exists():
            return EngineState()
        found = json.loads(self._file.read_text(encoding="utf-8"))
        return EngineState(**{**found, "retired": tuple(found["retired"])})

    def halt(self, by: str, reason: str) -> EngineState:
        """Refuse every release; who halted first is who has halted."""
        with self._lock:
            state = self.now()
            return (
                state if state.halted else self._write(replace(state, halted_by=by, reason=reason))
            )

    def resume(self) -> EngineState:
        """Release again: a person's word."""
        with self._lock:
            return self._write(replace(self.now(), halted_by="", reason=""))

    def open_epoch(self, epoch: int, retire: Iterable[str]) -> EngineState | None:
        """The next epoch, with these blocks retired; None when it is not the next, nor this one."""
        with self._lock:
            state = self.now()
            wanted = {*state.retired, *retire}
            if epoch == state.epoch and wanted == set(state.retired):
                return state
            if epoch != state.epoch + 1:
                return None
            return self._write(replace(state, epoch=epoch, retired=tuple(sorted(wanted))))

    def break_noise(self, factor: float) -> None:
        """From now on add only this share of the noise that is claimed."""
        with self._lock:
            self._write(replace(self.now(), noise_factor=factor))

    def _write(self, state: EngineState) -> EngineState:
        if self._file is None:
            raise FileNotFoundError("expected a file for the engine's state, found none")
        unfinished = self._file.with_suffix(".new")
        unfinished.write_text(json.dumps(asdict(state)), encoding="utf-8")
        unfinished.replace(self._file)
        return state
