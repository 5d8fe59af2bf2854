"""Start a program and see to it that nothing which it starts outlives it, or whoever wanted it.

Run as a script, without the packages of any environment:

    python -I -S warden.py PARENT_PID UID|- DIRECTORY MEMORY CPU FILE COMMAND...

The bounds (bytes, seconds, bytes; - for none) hold for each of the program's processes, from their
first instruction on. The warden stays between: every orphan below it becomes its own child, so that
neither a new session nor another working directory leads out of its sight. It passes SIGINT and
SIGQUIT on; at SIGTERM, when its parent dies, and when the program has ended, it kills all that is
left. Then it ends as the program did.
"""

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PARENT_FIELD = 1  # of /proc/PID/stat after the name
_PASSED_ON = (signal.SIGINT, signal.SIGQUIT)
_HEARD = {*_PASSED_ON, signal.SIGTERM, signal.SIGCHLD}
_RESTORED = (signal.SIGPIPE, signal.SIGXFSZ)  # Python ignores them, and the program would inherit
_KINDS = (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE)


def family(top: int) -> set[int]:
    """Every process below `top`."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208  no pathlib object for each of a thousand
        if entry.isdecimal():
            with suppress(OSError, IndexError):
                text = Path(f"/proc/{entry}/stat").read_text("ascii", "replace")
                parent = int(text.rpartition(")")[2].split()[_PARENT_FIELD])
                children.setdefault(parent, []).append(int(entry))
    found: set[int] = set()
    due = [top]
    while due:
        new = [each for each in children.get(due.pop(), []) if each not in found]
        found.update(new)
        due += new
    return found


def _control(option: int, value: int) -> None:
    if ctypes.CDLL(None).prctl(option, int(value), 0, 0, 0) != 0:
        sys.exit(f"expected prctl({option}) to work, found an error")


def _become(warden: int, uid: str, directory: str, bounds: list[str], command: list[str]) -> None:
    """The program, in the forked process."""
    os.chdir(directory)
    for kind, bound in zip(_KINDS, bounds, strict=True):
        if bound != "-":
            resource.setrlimit(kind, (int(bound), int(bound)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if uid != "-":
        os.setgroups([])
        os.setgid(int(uid))
        os.setuid(int(uid))
    # after setuid: changing the user clears the setting
    _control(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != warden:
        sys.exit("the process that started this one is gone")
    for each in _RESTORED:
        signal.signal(each, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
    os.execv(command[0], command)  # noqa: S606  no shell is the point


def _watch(program: int) -> int:
    """Until it has ended, its wait status; -1 when all is to end before."""
    while True:
        heard = signal.sigwait(_HEARD)
        if heard == signal.SIGTERM:
            return -1
        if heard in _PASSED_ON:
            os.kill(program, heard)
            continue
        while True:
            try:
                ended, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return -1
            if ended == program:
                return status
            if ended == 0:
                break


def _end_family() -> None:
    while True:
        for pid in family(os.getpid()):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _end_as(status: int) -> None:
    if os.WIFEXITED(status):
        os._exit(os.WEXITSTATUS(status))
    number = signal.SIGKILL if status == -1 else os.WTERMSIG(status)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os._exit(128 + number)


def _main(parent: int, uid: str, directory: str, bounds: list[str], command: list[str]) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    _control(_PR_SET_CHILD_SUBREAPER, 1)
    _control(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before we could ask for the signal
        sys.exit("the process that started this one is gone")
    warden = os.getpid()
    program = os.fork()
    if program == 0:
        try:
            _become(warden, uid, directory, bounds, command)
        except BaseException as error:  # noqa: BLE001  a forked copy may not go on as the warden
            sys.stderr.write(f"{command[0]}: {error}\n")
            sys.stderr.flush()
            os._exit(127)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # so that a reader sees the end when the program has ended
        os.dup2(nothing, descriptor)
    status = _watch(program)
    _end_family()
    _end_as(status)


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:7], sys.argv[7:])
