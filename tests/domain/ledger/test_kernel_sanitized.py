"""Our C under AddressSanitizer and UndefinedBehaviorSanitizer, with random and hostile input."""

import shutil
import subprocess
import sys
import sysconfig
from os import environ
from pathlib import Path

import pytest

import tasks.domain.ledger as package
from tests.domain.ledger import fuzz_kernel

SOURCES = sorted(map(str, Path(package.__file__).parent.glob("_*.c")))
SANITIZERS = "-fsanitize=address,undefined"
SECONDS = "4"

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler")


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory):
    """The module with sanitizers, and the environment that a process needs to load it."""
    module = tmp_path_factory.mktemp("kernel") / "_kernel.abi3.so"
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-fno-sanitize-recover=all"]
    include = sysconfig.get_path("include")
    command = ["gcc", *flags, SANITIZERS, "-shared", "-fPIC", f"-I{include}", *SOURCES]
    built = subprocess.run([*command, "-o", module], capture_output=True, text=True, check=False)
    if "cannot find -lasan" in built.stderr or "Python.h" in built.stderr:
        pytest.skip(f"cannot build with sanitizers here: {built.stderr[:200]}")
    assert built.returncode == 0, built.stderr
    asked = ["gcc", "-print-file-name=libasan.so"]
    library = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    return module, {**environ, "LD_PRELOAD": library, "ASAN_OPTIONS": "detect_leaks=0"}


def test_no_input_makes_our_c_read_or_write_where_it_must_not(sanitized):
    module, env = sanitized
    command = [sys.executable, fuzz_kernel.__file__, module, SECONDS]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert "SHA extensions" in ended.stderr or ended.returncode == 0, ended.stderr[-3000:]


def test_the_sanitizer_is_really_there(sanitized):
    """Without it the test above could not fail."""
    module, env = sanitized
    look = "import sys; print('libasan' in open('/proc/self/maps').read())"
    ended = subprocess.run(
        [sys.executable, "-c", look], env=env, capture_output=True, text=True, check=True
    )
    assert ended.stdout == "True\n"
    assert b"__asan_" in module.read_bytes()
