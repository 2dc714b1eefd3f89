"""Child processes: start with an explicit environment and a log file, wait until ready, stop, clean up."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

READY_POLL_SECONDS = 0.05
LOG_TAIL_BYTES = 4000
PR_SET_PDEATHSIG = 1


class PartError(Exception):
    """A part did not start; the message is one sentence for a person, followed by the end of its log."""


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(slots=True)
class Part:
    """A running child with its own process group, so that Ctrl-C in a terminal does not reach it first."""

    name: str
    process: subprocess.Popen[bytes]
    log_path: Path
    stop_signal: signal.Signals = signal.SIGTERM
    before: list[Part] = field(default_factory=list)
    """Parts that must outlive this one and stop after it."""

    def wait_ready(self, is_ready: Callable[[], bool], timeout_seconds: float) -> None:
        """Poll `is_ready` (which answers False or raises OSError until then); on failure stop the part and
        raise PartError."""
        try:
            self._poll(is_ready, timeout_seconds)
        except BaseException:
            self.stop()
            raise

    def _poll(self, is_ready: Callable[[], bool], timeout_seconds: float) -> None:
        give_up_at = time.monotonic() + timeout_seconds
        while time.monotonic() < give_up_at:
            if self.process.poll() is not None:
                raise PartError(f"{self.name} stopped while starting.\n{self.log_tail()}")
            with contextlib.suppress(OSError):
                if is_ready():
                    return
            time.sleep(READY_POLL_SECONDS)
        raise PartError(f"{self.name} was not ready after {timeout_seconds:.0f} s.\n{self.log_tail()}")

    def log_tail(self) -> str:
        data = self.log_path.read_bytes() if self.log_path.exists() else b""
        return data[-LOG_TAIL_BYTES:].decode(errors="replace").strip()

    def kill(self) -> None:
        """SIGKILL to the whole group: what a crash looks like."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, grace_seconds: float = 10.0) -> None:
        """The part's own stop signal, then SIGKILL after the grace time; idempotent."""
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(grace_seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        for part in self.before:
            part.stop(grace_seconds)


def spawn(
    name: str,
    argv: Sequence[str | Path],
    directory: Path,
    *,
    env: Mapping[str, str] | None = None,
    user: int | None = None,
    group: int | None = None,
    stop_signal: signal.Signals = signal.SIGTERM,
    run_in: Path | None = None,
    stops_with_us: bool = False,
) -> Part:
    """Start `argv` with its log in `directory/<name>.log`. `env` None inherits ours.

    With `stops_with_us` the kernel stops the child when the calling *thread* ends, so that even a SIGKILL of ours
    leaves nothing behind (on Linux).
    """
    log_path = directory / f"{name}.log"
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [str(argument) for argument in argv],
            env=None if env is None else dict(env),
            cwd=run_in or directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,
            user=user,
            group=group,
            extra_groups=None if user is None else [],
            preexec_fn=functools.partial(_stop_with_parent, stop_signal) if stops_with_us else None,
        )
    return Part(name, process, log_path, stop_signal)


def _stop_with_parent(stop_signal: signal.Signals) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, stop_signal)


def accepts_connections(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
