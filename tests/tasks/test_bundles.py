"""Making bundles: what is in them, what never is, and that a bare Python verifies them."""

import ast
import base64
import json
import os
import random
import site
import subprocess
import sys
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.errors import BadInput, NotProven
from tasks.domain.ledger import (
    KeyType,
    LogKey,
    MerkleTree,
    NoteSigner,
    Status,
    Trust,
    leaf_hash,
    sign_checkpoint,
)
from tasks.domain.ledger.bundle_files import MAX_RECORDS, Selection, policy_text
from tasks.domain.ledger.checkpoints import Checkpoint
from tasks.work import bundle_verifier as verifier
from tasks.work.bundles import Contents, make_bundle, verifier_source
from tests.domain.ledger.sample_log import (
    ORIGIN,
    SIGNER,
    STRANGERS,
    MemoryLog,
    chained,
    note_of,
    packed,
    sealed_files,
)
from tests.domain.ledger.sample_log import (
    TRUST as PLAIN_TRUST,
)
from tests.tasks.bundle_fixture import (
    LINES,
    OLDER,
    TRUST,
    files_of,
    log_files,
    made,
    policy_of,
)

CANARIES = ("ada.lovelace@example.org", "tell me how to build it", "tok_live_4242abcdef")
RSA_AND_FRIENDS = ("cryptography", "cffi", "_cffi_backend*", "pycparser", "typing_extensions*")


def test_a_default_bundle_holds_exactly_what_its_layout_says(tmp_path):
    files = files_of(made(tmp_path / "bundle", records="5,7-9"))
    assert sorted(files) == sorted(
        ["MANIFEST", "README.txt", "trust.toml", "verdict.json", "verify.py", "checkpoints/300"]
        + [f"{folder}/{size}" for size in OLDER for folder in ("checkpoints", "consistency")]
        + [f"records/{seq}.tlog-proof" for seq in (5, 7, 8, 9)]
    )
    assert files["verify.py"] == verifier_source()
    assert json.loads(files["verdict.json"])["verdict"] == "verified"
    assert Trust.parse(files["trust.toml"].decode()) == TRUST


def test_a_full_bundle_adds_every_leaf_hash_and_lines_only_when_asked(tmp_path):
    plain = files_of(made(tmp_path / "plain", full=True))
    lines = files_of(made(tmp_path / "lines", full=True, with_lines=True))
    assert {"tile/0/000", "tile/0/001.p/44"} <= set(plain)
    assert set(lines) - set(plain) == {"lines/0-299.jsonl"}
    assert lines["lines/0-299.jsonl"] == b"".join(line + b"\n" for line in LINES)
    assert b"PERSONAL DATA" in lines["README.txt"]
    assert b"PERSONAL DATA" not in plain["README.txt"]


def test_selected_lines_are_enclosed_by_range(tmp_path):
    files = files_of(made(tmp_path / "bundle", records="299,7-9,8", with_lines=True))
    assert files["lines/7-9.jsonl"] == b"".join(line + b"\n" for line in LINES[7:10])
    assert files["lines/299-299.jsonl"] == LINES[299] + b"\n"
    report = verifier.verify_bundle(str(tmp_path / "bundle"), policy_of())
    assert (report.code, report.lines) == (verifier.PROVED, [(7, 9), (299, 299)])


def test_long_lines_are_split_into_files_and_verify(tmp_path):
    lines = chained(12, data={"text": "x" * 1_000_000})
    files = sealed_files(lines)
    target = made(tmp_path / "bundle", files, PLAIN_TRUST, full=True, with_lines=True)
    enclosed = [name for name in files_of(target) if name.startswith("lines/")]
    assert sorted(enclosed) == ["lines/0-8.jsonl", "lines/9-11.jsonl"]
    assert verifier.verify_bundle(str(target)).lines == [(0, 8), (9, 11)]


def test_the_same_log_gives_the_same_bytes_in_a_folder_and_in_a_zip(tmp_path):
    options = {"records": "5,7-9", "full": True, "with_lines": True}
    zips = [made(tmp_path / f"{number}.zip", **options).read_bytes() for number in range(2)]
    folders = [files_of(made(tmp_path / f"{number}", **options)) for number in range(2)]
    assert zips[0] == zips[1]
    assert folders[0] == folders[1]
    verified = verifier.verify_bundle(str(tmp_path / "0.zip"), policy_of())
    assert verified.code == verifier.PROVED
    assert verified.files == len(folders[0]) - 1


def canary_log():
    """Records that hold personal data, and findings that would like to quote it."""
    lines = chained(40)
    for text in CANARIES:
        lines = chained(len(lines) + 3, lines, data={"text": text}, event_id=text)
    damaged = [*lines]
    damaged[41] = damaged[41].replace(b'"seq":41', b'"seq":"%s"' % CANARIES[0].encode())
    return lines, sealed_files(lines, older=(10,)) | {
        f"seg/0-{len(lines)}.jsonl.zst": packed(damaged),
        f"seg/{CANARIES[2]}.tmp": b"x",
    }


def unpacked(target):
    if target.is_dir():
        return files_of(target)
    with zipfile.ZipFile(target) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", ["bundle", "bundle.zip"])
def test_no_personal_data_of_any_record_is_in_a_default_bundle(tmp_path, name, full):
    lines, files = canary_log()
    assert all(any(text.encode() in line for line in lines) for text in CANARIES)
    target = made(tmp_path / name, files, PLAIN_TRUST, records="0-48", full=full)
    held = b"" if target.is_dir() else target.read_bytes()
    held += b"\n".join(unpacked(target).values())
    for text in CANARIES:
        plain = text.encode()
        for offset in range(3):  # base64 of a text depends on where in a group it begins
            coded = base64.b64encode(b"x" * offset + plain)[4:-4]
            assert coded not in held
        assert plain not in held
        assert plain.hex().encode() not in held.lower()


def test_a_log_whose_lines_are_damaged_is_bundled_with_the_verdict_that_says_so(tmp_path):
    _, files = canary_log()
    selected = Contents(Selection.parse("3"))
    done = make_bundle(MemoryLog(files), PLAIN_TRUST, tmp_path / "bundle", selected)
    assert done.verdict.status is Status.TAMPERED
    said = verifier.words(verifier.verify_bundle(str(tmp_path / "bundle")))
    assert "The maker says of the log: tampered" in " ".join(said.split())
    told = json.loads((tmp_path / "bundle/verdict.json").read_text())
    assert {each["code"] for each in told["findings"]} >= {"MODIFIED", "STRAY"}
    assert not any("detail" in each for each in told["findings"])


EVIL = chained(300, LINES[:50], session_id="evil")
REFUSED = {
    "a damaged line that was asked for": (
        log_files() | {"seg/0-300.jsonl.zst": packed(EVIL)},
        TRUST,
        {"records": "60", "with_lines": True},
        "record 60",
    ),
    "a segment that is gone": (
        {name: data for name, data in log_files().items() if "seg/" not in name},
        TRUST,
        {"records": "60", "with_lines": True},
        "record 60",
    ),
    "an older head of a fork": (
        log_files() | {"checkpoints/100": note_of(EVIL[:100]).encode()},
        TRUST,
        {},
        "root",
    ),
    "an older head that nobody signed": (
        log_files() | {"checkpoints/100": b"nothing of the kind"},
        TRUST,
        {},
        "checkpoints/100",
    ),
    "a damaged leaf tile": (
        log_files() | {"tile/0/000": bytes(8192)},
        TRUST,
        {"records": "60"},
        "expected old root",
    ),
    "an anchor of another history": (
        log_files(),
        Trust(ORIGIN, TRUST.log_keys, TRUST.witnesses, 2, anchor=note_of(EVIL[:77])),
        {},
        "anchor",
    ),
    "an anchor that is newer": (
        log_files(),
        Trust(ORIGIN, TRUST.log_keys, TRUST.witnesses, 2, anchor=note_of(chained(400, LINES))),
        {},
        "newer heads were removed",
    ),
    "other keys": (log_files(), STRANGERS, {}, "no head that counts"),
    "nothing there": ({}, TRUST, {}, "no head that counts"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_proven_is_not_bundled_and_nothing_is_left(tmp_path, case):
    files, trust, options, because = REFUSED[case]
    for name in ("bundle", "bundle.zip"):
        with pytest.raises(NotProven, match=because):
            made(tmp_path / name, files, trust, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("records", ["x", "5-", "-5", "9-7", "1,,2", "01", "1-2-3", "\u0661"])
def test_records_that_are_no_ranges_are_bad_input(records):
    with pytest.raises(BadInput, match="A-B"):
        Selection.parse(records)


def test_records_beyond_the_head_or_too_many_are_bad_input(tmp_path):
    with pytest.raises(BadInput, match="below 300"):
        made(tmp_path / "bundle", records="5,290-300")
    with pytest.raises(BadInput, match="full bundle"):
        Selection.parse(f"0-{MAX_RECORDS}").check(10**9)
    with pytest.raises(BadInput, match="--records"):
        made(tmp_path / "bundle", with_lines=True)


def test_what_exists_is_never_replaced(tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "link.zip").symlink_to(tmp_path / "nowhere")
    for name in ("bundle", "link.zip"):
        with pytest.raises(BadInput, match="exists"):
            made(tmp_path / name)
    with pytest.raises(BadInput, match="cannot write"):
        made(tmp_path / "no such folder" / "bundle")


def test_a_bundle_is_its_owners_alone(tmp_path):
    assert made(tmp_path / "b").stat().st_mode & 0o777 == 0o700
    assert made(tmp_path / "b.zip").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("count", [0, 1, 2, 256, 257])
def test_logs_of_odd_sizes_are_bundled_and_verified(tmp_path, count):
    lines = chained(count)
    files = sealed_files(lines, older=[0] if count else [])
    records = f"0-{count - 1}" if count else ""
    target = made(tmp_path / "b", files, PLAIN_TRUST, records=records, full=True, with_lines=True)
    report = verifier.verify_bundle(str(target), policy_of(PLAIN_TRUST))
    assert report.code == verifier.PROVED
    assert list(report.records.values()) == [leaf_hash(line) for line in lines]
    assert report.recomputed == bool(count)


def test_an_anchor_that_the_log_no_longer_stores_is_bundled_with_its_proof(tmp_path):
    trust = Trust(ORIGIN, TRUST.log_keys, TRUST.witnesses, 2, anchor=note_of(LINES[:77]))
    target = made(tmp_path / "bundle", trust=trust)
    report = verifier.verify_bundle(
        str(target), verifier.read_policy((target / "trust.toml").read_text())
    )
    assert (report.code, report.anchor, report.older) == (0, 77, [0, 77, 100, 250])


def test_a_rotated_key_signs_the_older_heads_only(tmp_path):
    new = NoteSigner.from_seed(ORIGIN, bytes([9]) * 32)
    trust = Trust(ORIGIN, (LogKey(SIGNER.verifier, 0, 250), LogKey(new.verifier, 251)))
    files = log_files() | {"checkpoints/300": note_of(LINES, new).encode()}
    target = made(tmp_path / "bundle", files, trust)
    own = verifier.verify_bundle(str(target))
    assert (own.code, own.older) == (verifier.PROVED_BY_ITS_OWN_KEYS, [0, 100, 250])
    newest_only = verifier.policy_of_keys([new.verifier.encoded], ORIGIN)
    report = verifier.verify_bundle(str(target), newest_only)
    assert report.code == verifier.NOT_PROVED
    assert "the older ones must be given" in " ".join(verifier.words(report).split())


# The verifier, on its own


def run_alone(arguments, folder, *, packages=None):
    """`verify.py` as an auditor runs it: its own process, no environment, cwd elsewhere.

    With `packages`, even the interpreter's site is off and only those can be imported.
    """
    script = [sys.executable, "-I", *map(str, arguments)]
    if packages is not None:
        code = (
            "import runpy, sys\n"
            f"sys.path.append({str(packages)!r})\n"
            f"sys.argv = {[str(each) for each in arguments]!r}\n"
            "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
            "finally:\n"
            "    ours = {'tasks', 'deployments', 'zstandard', 'pydantic'} & set(sys.modules)\n"
            "    print('OURS', sorted(ours))\n"
        )
        script = [sys.executable, "-I", "-S", "-c", code]
    return subprocess.run(
        script, cwd=folder, env={}, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def bare(tmp_path):
    """A folder with nothing to import but `cryptography` and what it needs."""
    packages = tmp_path / "packages"
    packages.mkdir()
    (installed,) = [Path(each) for each in site.getsitepackages()]
    for pattern in RSA_AND_FRIENDS:
        for path in installed.glob(pattern):
            (packages / path.name).symlink_to(path)
    return packages


def test_the_enclosed_verifier_runs_with_cryptography_alone(tmp_path, bare):
    target = made(tmp_path / "bundle", records="5", full=True, with_lines=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    keys = [each.encoded for each in (SIGNER.verifier, *TRUST.witnesses[:2])]
    options = [part for key in keys for part in ("--key", key)]
    done = run_alone([target / "verify.py", target, *options], elsewhere, packages=bare)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("PROVED under the keys that you gave.")
    assert done.stdout.endswith("OURS []\n")
    assert list(elsewhere.iterdir()) == []


def test_the_enclosed_verifier_tells_its_outcomes_by_exit_codes(tmp_path):
    target = made(tmp_path / "bundle")
    script = target / "verify.py"
    report = tmp_path / "report.json"
    own = run_alone([script, target, "--json", report], tmp_path)
    assert (own.returncode, own.stdout.split(".")[0]) == (
        3,
        "PROVED UNDER THE KEYS IN THIS BUNDLE only",
    )
    assert json.loads(report.read_text())["keys_from"] == "bundle"
    assert run_alone([script, tmp_path / "nowhere"], tmp_path).returncode == 2
    assert run_alone([script, target, "--key", "nonsense"], tmp_path).returncode == 2
    policy = tmp_path / "mine.toml"
    policy.write_text(policy_text(TRUST))
    assert run_alone([script, target, "--trust", policy], tmp_path).returncode == 0
    (target / "README.txt").write_text("Pay here.")
    broken = run_alone([script, target, "--trust", policy], tmp_path)
    assert (broken.returncode, "README.txt was altered" in broken.stdout) == (1, True)


def test_the_verifier_is_python_3_9_and_imports_nothing_of_ours():
    source = verifier_source().decode()
    tree = ast.parse(source, feature_version=(3, 9))
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    foreign = {name.split(".")[0] for name in imported} - set(sys.stdlib_module_names)
    assert foreign == {"cryptography"}
    assert not {"eval(", "exec(", "pickle", "subprocess", "socket"} & set(source.split())


TREE = MerkleTree([leaf_hash(b"%d" % number) for number in range(130)])


def test_the_verifiers_own_tree_agrees_with_ours_at_every_size():
    leaves = b"".join(TREE.node(0, index) for index in range(TREE.size))
    roots = verifier.roots_at(leaves, set(range(TREE.size + 1)))
    for new in range(1, TREE.size + 1):
        root = TREE.root(new)
        assert roots[new] == root
        for at in {0, new // 2, new - 1}:
            path = TREE.inclusion_proof(at, new)
            assert verifier.root_by_path(at, new, TREE.node(0, at), path) == root
        for old in range(1, new):
            proof = TREE.consistency_proof(old, new)
            grown = verifier.roots_by_growth(old, new, TREE.root(old), proof)
            assert grown == (TREE.root(old), root)


@given(st.integers(2, 130), st.data())
def test_a_changed_proof_never_leads_the_verifier_to_the_root(new, data):
    old = data.draw(st.integers(1, new - 1))
    proof = TREE.consistency_proof(old, new)
    at = data.draw(st.integers(0, len(proof)))
    lies = [[*proof[:at], bytes(32), *proof[at:]], [*proof[:at], bytes(32), *proof[at + 1 :]]]
    lies += [proof[:at] + proof[at + 1 :]] if at < len(proof) else []
    for lie in lies:
        try:
            found = verifier.roots_by_growth(old, new, TREE.root(old), lie)
        except verifier.Broken:
            continue
        assert found != (TREE.root(old), TREE.root(new))


NAMES = st.text("abcxyz.-/\u00e9", min_size=1, max_size=12)


@st.composite
def policies(draw):
    seeds = draw(st.lists(st.integers(0, 255), min_size=1, max_size=4, unique=True))
    signers = [NoteSigner.from_seed(draw(NAMES), bytes([seed]) * 32) for seed in seeds]
    sizes = st.integers(0, 10**12)
    keys = []
    for each in signers:
        first = draw(sizes)
        keys.append(LogKey(each.verifier, first, draw(st.none() | st.integers(first or 1, 10**13))))
    count = draw(st.integers(0, 3))
    witnesses = tuple(
        NoteSigner.from_seed(f"w{number}", bytes([number, *[7] * 31]), KeyType.WITNESS).verifier
        for number in range(count)
    )
    origin = draw(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n")))
    hours = draw(st.none() | st.integers(1, 8000)) if count else None
    return Trust(
        origin or "x",
        tuple(keys),
        witnesses,
        draw(st.integers(0, count)),
        None if hours is None else timedelta(hours=hours),
    )


@given(policies())
def test_every_policy_is_read_back_by_both_readers_alike(trust):
    text = policy_text(trust)
    assert Trust.parse(text) == trust
    policy = verifier.read_policy(text)
    assert policy.origin == trust.origin
    assert policy.quorum == trust.quorum
    assert [(key.vkey, key.first, key.last) for key in policy.log_keys] == [
        (each.verifier.encoded, each.from_size, each.until_size) for each in trust.log_keys
    ]
    assert [key.vkey for key in policy.witnesses] == [each.encoded for each in trust.witnesses]


def test_a_policy_with_an_anchor_is_read_as_people_write_it():
    note = sign_checkpoint(Checkpoint(ORIGIN, 5, bytes(32)), SIGNER)
    key = SIGNER.verifier.encoded
    text = f"""# whom we believe\r
origin = "{ORIGIN}"
quorum = 0 # none
[[log_keys]]
  key="{key}"
[anchor]  # ours
note = QUOTES
{note}QUOTES
""".replace("QUOTES", '"' * 3)
    assert Trust.parse(text).anchor == note
    assert verifier.read_policy(text).anchor == note
    assert verifier.read_policy(policy_text(Trust.parse(text))).anchor == note


@pytest.mark.parametrize(
    "change",
    [
        "origin = 5",
        "origin = 'x'",
        'origin = "x" y',
        'origin = "x"\norigin = "y"',
        'origin = "\\ud800"',
        'origin = "x"\nextra = 1',
        'origin = "x"\nquorum = 1',
        'origin = "x"\nquorum = true',
        'origin = """\nx',
        'origin = "x"\nlog_keys = []',
        'origin = "x"\n[[log_keys]]\nkey = "x"',
        'origin = "x"\n[[witnesses]]\nkey = "KEY"',
        'origin = "x"\n[[witnesses]]\nkey = "SAME"',
        'origin = "x"\n[[log_keys]]\nkey = "KEY"\nfrom_size = 5\nuntil_size = 0',
        'origin = "x"\n[anchor]\n[anchor]',
        "\x00",
    ],
)
def test_a_policy_that_says_nonsense_is_broken_not_guessed_at(change):
    same = NoteSigner.from_seed("w", bytes([1]) * 32, KeyType.WITNESS)  # the log's seed
    change = change.replace("KEY", SIGNER.verifier.encoded)
    change = change.replace("SAME", same.verifier.encoded)
    good = f'[[log_keys]]\nkey = "{SIGNER.verifier.encoded}"\n'
    with pytest.raises(verifier.Broken):
        verifier.read_policy(f"{change}\n{good}")


def test_random_bytes_are_no_policy_and_no_bundle(tmp_path):
    chance = random.Random(4)
    for number in range(200):
        data = chance.randbytes(chance.randrange(300))
        with pytest.raises(verifier.Broken):
            verifier.read_policy(data.decode("latin-1"))
        path = tmp_path / f"{number}.zip"
        path.write_bytes(data + b"PK\5\6" + bytes(chance.randrange(30)))
        with pytest.raises(verifier.NotABundle):
            verifier.verify_bundle(os.fspath(path))
