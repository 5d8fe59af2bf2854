"""`pg_isready` and `redis-cli ping` in a pod: what the server says where no network is between.

The API server lets a program go on when its client leaves, so each is started by `timeout`.
"""

from collections.abc import Sequence

from tasks.clients.errors import ClientError
from tasks.clients.pod_exec import CommandFailed, Pod, output_of
from tasks.domain.inside import Answer, Inside
from tasks.domain.untrusted import visible
from tasks.sections.systems import KubernetesSettings

_LIMIT = 16 * 1024
_SAID = 160
_LEAST_SECONDS = 2  # to begin a program in a busy pod takes a while: that is no silence
_WAY_BACK = 0.5
_ENDED_BY_TIMEOUT = 124
_PG_ISREADY = {1: Answer.BUSY, 2: Answer.SILENT, _ENDED_BY_TIMEOUT: Answer.SILENT}
_ALIVE = ("PONG", "NOAUTH", "NOPERM")
"""Of Redis; the others mean that it answers, and that it wants a password."""

_SILENT = ("Could not connect", "Error: Connection reset", "Error: Server closed")


def postgres_says(cluster: KubernetesSettings, pod: Pod, seconds: float) -> Inside:
    """What `pg_isready` says in the pod. UNKNOWN when it could not be asked, with the reason."""
    bound = _whole(seconds)
    try:
        said = _said(cluster, pod, ["pg_isready", "-t", str(bound)], seconds)
    except CommandFailed as error:
        answer = _PG_ISREADY.get(error.status or 0, Answer.UNKNOWN)
        text = error.complaint if answer is Answer.UNKNOWN else _IN_WORDS[answer]
        return Inside(answer, f"pg_isready: {visible(text, _SAID)}")
    except ClientError as error:
        return Inside(Answer.UNKNOWN, visible(str(error), _SAID * 2))
    return Inside(Answer.READY, f"pg_isready: {visible(said.strip(), _SAID)}")


def redis_says(cluster: KubernetesSettings, pod: Pod, seconds: float) -> Inside:
    """What `redis-cli ping` says in the pod, without a password: arguments can be read by others.

    UNKNOWN when it could not be asked, with the reason.
    """
    try:
        said = _said(cluster, pod, ["redis-cli", "ping"], seconds).strip()
    except CommandFailed as error:
        silent = error.status == _ENDED_BY_TIMEOUT or error.complaint.startswith(_SILENT)
        answer = Answer.SILENT if silent else Answer.UNKNOWN
        return Inside(answer, f"redis-cli ping: {visible(error.complaint or 'no answer', _SAID)}")
    except ClientError as error:
        return Inside(Answer.UNKNOWN, visible(str(error), _SAID * 2))
    answer = Answer.READY if said.startswith(_ALIVE) else Answer.BUSY
    return Inside(answer, f"redis-cli ping: {visible(said or 'nothing', _SAID)}")


_IN_WORDS = {Answer.BUSY: "rejects connections", Answer.SILENT: "no response"}


def _said(cluster: KubernetesSettings, pod: Pod, program: Sequence[str], seconds: float) -> str:
    """Standard output of a program that ends by itself before `seconds`, or after two of them."""
    bound = _whole(seconds)
    patience = min(max(seconds, bound + _WAY_BACK), cluster.timeout_seconds)
    hasty = cluster.model_copy(update={"timeout_seconds": patience})
    command = ["timeout", str(bound), *program]
    return b"".join(output_of(hasty, pod, command, _LIMIT)).decode("utf-8", "replace")


def _whole(seconds: float) -> int:
    """Whole seconds, a little less than there are: the answer has a way to go too."""
    return max(_LEAST_SECONDS, int(seconds) - 1)
