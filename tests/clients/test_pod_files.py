"""Files in a pod, over the real websocket protocol and with real programs."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deployments.lab.kubernetes.cluster import Cluster, simulated_cluster
from deployments.lab.kubernetes.manifests import HEALTHY
from deployments.lab.kubernetes.misbehaviour import Trouble
from deployments.lab.kubernetes.programs import Program
from deployments.lab.kubernetes.rbac import Account
from tasks.clients.errors import ClientError, Denied, Malformed, NotFound, Transient
from tasks.clients.pod_exec import CommandFailed, Pod, output_of
from tasks.clients.pod_files import PodFiles
from tasks.domain.errors import BadInput, RunbookError
from tasks.sections.systems import KubernetesSettings

POD = Pod("rlhf-audit-trail", "postgres-pod")
AT = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def running_cluster() -> Iterator[Cluster]:
    programs = {"postgres-pod": Program()}
    with simulated_cluster(releases=HEALTHY[:1], programs=programs) as running:
        yield running


@pytest.fixture
def server(running_cluster: Cluster) -> Cluster:
    running_cluster.programs.restore()
    running_cluster.recover_api()
    return running_cluster


@pytest.fixture
def cluster(server: Cluster) -> KubernetesSettings:
    return settings_of(server)


def settings_of(server: Cluster, config: Path | None = None) -> KubernetesSettings:
    """As somebody who may run programs in any pod."""
    file = config or server.config_file
    return KubernetesSettings(config_file=file, context="admin", timeout_seconds=10)


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    directory = tmp_path / "backups"
    directory.mkdir()
    return directory


@pytest.fixture
def files(cluster: KubernetesSettings, backups: Path) -> PodFiles:
    return PodFiles(cluster, POD, str(backups))


def put(directory: Path, name: str | bytes, content: bytes = b"PGDMP") -> None:
    path = directory / os.fsdecode(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (AT.timestamp(), AT.timestamp()))


def without_printf(server: Cluster, directory: Path) -> None:
    """A `find` as busybox has it."""
    directory.mkdir()
    script = directory / "find"
    script.write_text(
        "#!/bin/sh\n"
        'for each in "$@"; do case "$each" in -printf)\n'
        "  echo 'find: unrecognized: -printf' >&2; exit 1;; esac; done\n"
        'exec /usr/bin/find "$@"\n'
    )
    script.chmod(0o755)
    find_programs_in(server, directory)


def find_programs_in(server: Cluster, directory: Path) -> None:
    """Before the host's own."""
    path = f"{directory}:{os.environ['PATH']}"
    server.programs.by_pod["postgres-pod"] = Program({"PATH": path, "LC_ALL": "C"})


@pytest.mark.parametrize("version", ["v4.channel.k8s.io", "v5.channel.k8s.io"])
def test_files_are_listed_with_size_and_time(
    version: str, server: Cluster, files: PodFiles, backups: Path
) -> None:
    server.programs.versions = (version,)
    put(backups, "backup_2026-11-22.sql", b"PGDMP and more")
    put(backups, "old/toc.dat")

    listed = {each.name: (each.size, each.modified) for each in files.listed()}

    assert listed == {"backup_2026-11-22.sql": (14, AT), "old/toc.dat": (5, AT)}


HOSTILE = ["two\nlines", "-rf", "$(reboot)", "; rm -rf ~", "a b'\"c", "\N{RIGHT-TO-LEFT OVERRIDE}x"]


@pytest.mark.parametrize("plain", [False, True], ids=["gnu", "busybox"])
def test_hostile_names_are_listed_and_read_as_what_they_are(
    *, plain: bool, server: Cluster, files: PodFiles, backups: Path, tmp_path: Path
) -> None:
    if plain:
        without_printf(server, tmp_path / "programs")
    for number, name in enumerate(HOSTILE):
        put(backups, name, bytes([65 + number]) * 3)
    put(backups, b"\xff\xfe.dump")
    (backups / "link").symlink_to("/etc/passwd")
    os.mkfifo(backups / "pipe")

    listed = {each.name: each.size for each in files.listed()}

    assert set(listed) == {*HOSTILE, "\udcff\udcfe.dump"}
    for number, name in enumerate(HOSTILE):
        assert listed[name] == 3
        assert files.head(name, 2) == bytes([65 + number]) * 2
        assert b"".join(files.pieces(name, 100)) == bytes([65 + number]) * 3
    with pytest.raises(BadInput, match="expected a file below"):
        files.head("\udcff\udcfe.dump", 2)


def test_a_find_without_printf_lists_the_same(
    server: Cluster, files: PodFiles, backups: Path, tmp_path: Path
) -> None:
    for number in range(250):
        put(backups, f"dump {number}", b"x" * number)
    expected = sorted(files.listed(), key=lambda each: each.name)
    without_printf(server, tmp_path / "programs")

    assert sorted(files.listed(), key=lambda each: each.name) == expected


@pytest.mark.parametrize("plain", [False, True], ids=["gnu", "busybox"])
def test_a_file_from_before_the_epoch_hides_no_other(
    server: Cluster, files: PodFiles, backups: Path, tmp_path: Path, *, plain: bool
) -> None:
    if plain:
        without_printf(server, tmp_path / "busybox")
    put(backups, "good.dump")
    put(backups, "odd.dump")
    os.utime(backups / "odd.dump", (-(10**9), -(10**9)))

    listed = {each.name: each.modified for each in files.listed()}

    assert listed == {"good.dump": AT, "odd.dump": datetime(1970, 1, 1, tzinfo=UTC)}


def test_a_large_file_arrives_whole_and_in_pieces(files: PodFiles, backups: Path) -> None:
    content = os.urandom(5_000_000)
    put(backups, "large", content)

    pieces = list(files.pieces("large", 5_000_000))

    assert b"".join(pieces) == content
    assert max(map(len, pieces)) < 100_000


def test_a_file_that_grows_beyond_what_was_listed_is_cut_off(
    files: PodFiles, backups: Path
) -> None:
    put(backups, "endless", b"x" * 500_000)

    with pytest.raises(Malformed, match="at most 1000 bytes"):
        list(files.pieces("endless", 1000))


@pytest.mark.parametrize("name", ["../etc/passwd", "/etc/passwd", "a/../../b", "", "a\x00b"])
def test_a_name_that_points_outside_is_refused_before_anything_runs(
    name: str, files: PodFiles, server: Cluster
) -> None:
    with pytest.raises(BadInput, match="expected a file below"):
        files.head(name, 1)

    assert server.programs.commands == []


def test_no_right_to_run_programs_names_the_right(server: Cluster, backups: Path) -> None:
    before = server.service.accounts[server.tokens["remediate"]]
    server.grant("remediate", Account("system:serviceaccount:rlhf-audit-trail:nobody"))
    remediate = KubernetesSettings(config_file=server.config_file, context="remediate")

    with pytest.raises(Denied, match="pods/exec in namespace rlhf-audit-trail"):
        PodFiles(remediate, POD, str(backups)).listed()
    server.grant("remediate", before)


def test_a_wrong_token_is_denied_and_never_shown(
    server: Cluster, backups: Path, tmp_path: Path
) -> None:
    config = server.kubeconfig(tmp_path / "config", tokens={"admin": "wrong-and-secret"})
    files = PodFiles(settings_of(server, config), POD, str(backups))

    with pytest.raises(Denied) as raised:
        files.listed()

    assert "secret" not in str(raised.value)


def test_each_failure_is_one_of_ours(
    server: Cluster, cluster: KubernetesSettings, files: PodFiles, backups: Path, tmp_path: Path
) -> None:
    def failure(of: PodFiles = files) -> type[Exception]:
        with pytest.raises(ClientError) as raised:
            of.listed()
        return raised.type

    assert failure(PodFiles(cluster, Pod("rlhf-audit-trail", "gone"), str(backups))) is NotFound
    assert failure(PodFiles(cluster, POD, str(tmp_path / "nowhere"))) is NotFound
    server.misbehave(Trouble.FAILS, "/exec")
    assert failure() is Transient
    server.recover_api()
    put(backups, "a")
    with pytest.raises(NotFound):
        files.head("b", 1)
    find_programs_in(server, tmp_path / "none")
    with pytest.raises(CommandFailed, match="executable file not found"):
        list(output_of(cluster, POD, ["no-such-program"], 10))


def test_a_stream_that_breaks_off_is_not_taken_for_the_whole(
    server: Cluster, files: PodFiles, backups: Path
) -> None:
    put(backups, "large", b"x" * 300_000)
    server.programs.cut_after = 100_000

    with pytest.raises(Transient, match="ended before cat did"):
        list(files.pieces("large", 300_000))


def test_a_server_that_stands_still_is_given_up(server: Cluster) -> None:
    server.programs.silent = True
    config = settings_of(server).model_copy(update={"timeout_seconds": 0.3})
    began = time.monotonic()

    with pytest.raises(Transient, match="broke off"):
        list(output_of(config, POD, ["true"], 10))

    assert time.monotonic() - began < 5


def test_the_token_goes_nowhere_else(server: Cluster, files: PodFiles) -> None:
    with simulated_cluster(releases=HEALTHY[:1]) as other:
        server.programs.redirect = f"{other.url}/api/v1/namespaces/a/pods/b/exec"

        with pytest.raises(Malformed, match="Redirect"):
            files.listed()

        assert other.asked == []


@pytest.mark.parametrize(
    ("server_url", "said"),
    [("http://10.0.0.1:6443", "by https"), ("https://127.0.0.1:1", "certificate to be verified")],
)
def test_a_connection_that_gives_the_token_away_is_refused(
    server_url: str, said: str, server: Cluster, tmp_path: Path
) -> None:
    config = settings_of(server, server.kubeconfig(tmp_path / "config", server=server_url))

    with pytest.raises(BadInput, match=said):
        list(output_of(config, POD, ["true"], 10))


def test_without_a_configuration_it_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="RUNBOOK_KUBERNETES__CONFIG_FILE"):
        list(output_of(KubernetesSettings(config_file=tmp_path / "none"), POD, ["true"], 10))


@pytest.mark.parametrize("text", ["", "a", "a/b/c/d", "A/b", "a/b?x", "../b", "a/b c"])
def test_what_is_no_pod_is_refused(text: str) -> None:
    with pytest.raises(RunbookError, match="expected namespace/pod"):
        Pod.parse(text)
