"""Every attack of the matrix gives its verdict, and exactly the findings that it must."""

from functools import cache

import pytest

from tasks.domain.ledger import INFORMATIONAL, UNDECIDED, Status, Trust, TrustError, combine
from tasks.domain.ledger.comparison import joined
from tasks.domain.ledger.scope import Scope
from tasks.work.comparisons import compare_with_anchor, compare_with_api
from tasks.work.trusted import begin
from tasks.work.verification import compare_rows, verify_log, verify_rows
from tests.domain.ledger.tamper_matrix import CASES, NO_TILES_AT_ALL, TAMPERED, VERIFIED
from tests.domain.ledger.tamper_worlds import (
    BATCH,
    EVIL,
    LINES,
    LOG,
    OLD,
    ORIGIN,
    POLICY,
    W1,
    W2,
    Key,
    Store,
    batches,
    large_world,
    link,
    note,
    reader,
)


@cache
def trust_of(policy):
    return Trust.parse(policy)


def with_anchor(policy, kept):
    return trust_of(policy + f'\n[anchor]\nnote = """{kept.decode()}"""\n')


def verdict_of(world):
    """The overall verdict over everything that the world wants to be asked."""
    log, trust = Store(world.files), trust_of(world.policy)
    size = 1000 if len(world.rows) > 1000 else BATCH
    found = []
    if "table" in world.checks:
        found.append(verify_rows(batches(world.rows, size), log, trust, now=world.time))
    if "store" in world.checks:
        found.append(verify_log(log, trust, now=world.time))
    if "anchor" in world.checks:
        kept = with_anchor(world.policy, world.anchor).open_anchor() if world.anchor else None
        found.append(compare_with_anchor(log, trust, kept, now=world.time))
    if "api" in world.checks and world.api:
        found.append(compare_with_api(log, trust, *world.api, reader(world.rows), now=world.time))
    return combine(*found)


def placed(finding):
    return f"{finding.source} {finding.code} {finding.first}+{finding.count}"


@pytest.mark.parametrize("name", CASES)
def test_each_attack_gives_its_verdict_and_exactly_its_findings(name):
    case = CASES[name]
    verdict = verdict_of(case.world())
    named = {tuple(each.split()[:2]) for each in case.places}
    pairs = {(each.source, each.code.value) for each in verdict.findings}
    places = {placed(each) for each in verdict.findings if (each.source, each.code.value) in named}
    assert (pairs, places) == (case.pairs, case.places)
    assert verdict.status.value == case.status
    assert verdict.reason
    if case.status == TAMPERED:  # something must say so that speaks against the log
        assert {each.code for each in verdict.findings} - INFORMATIONAL - UNDECIDED


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith(("rows", "tail"))])
@pytest.mark.parametrize("size", [1, 1000])
def test_findings_do_not_depend_on_how_rows_come(name, size):
    world = CASES[name].world()
    log, trust = Store(world.files), trust_of(world.policy)
    one = verify_rows(batches(world.rows), log, trust, now=world.time)
    other = verify_rows(iter(batches(world.rows, size)), log, trust, now=world.time)
    assert (one.status, one.findings, one.records) == (other.status, other.findings, other.records)


def forged_end(world):
    """The records of the second block written anew and chained to the first block."""
    lines, prev = [], link(world.lines[65_535])
    for seq in range(65_536, 65_800):
        lines.append(b'{"_prev":"%b","data":[],"seq":%d}' % (prev.encode(), seq))
        prev = link(lines[-1])
    return list(range(65_536, 65_800)), lines


@pytest.mark.parametrize(
    ("gone", "sampled"),
    [("nothing", ()), ("tiles", (0,)), ("tiles and segments", ()), ("tiles and segments", (0,))],
)
def test_part_of_a_table_is_not_verified_by_a_tree_that_nothing_proves(gone, sampled):
    """An incremental verification: the new records are forged, there is nothing to judge by."""
    world = large_world().copy()
    if gone != "nothing":
        NO_TILES_AT_ALL(world)
    if gone == "tiles and segments":
        world.files = {path: data for path, data in world.files.items() if path[:4] != "seg/"}
    run = begin("table", Store(world.files), trust_of(POLICY), world.time)
    signed = run.trusted.signed
    first = [compare_rows(batches(world.rows[:65_536], 5000), signed, 0, 65_536)] if sampled else []
    forged = compare_rows([forged_end(world)], signed, 65_536)
    verdict = run.judge(joined("table", [*first, forged]), scope=Scope(65_536, sampled))
    assert verdict.status is not Status.VERIFIED
    if gone != "tiles and segments":
        assert [placed(each) for each in verdict.findings] == ["table MODIFIED 65536+264"]


def test_there_are_attacks_on_every_part():
    parts = {name.partition(":")[0] for name in CASES}
    assert parts >= {"record", "rows", "tail", "segment", "tile", "head", "time", "anchor", "api"}
    assert sum(case.status != VERIFIED for case in CASES.values()) >= 60


# What a policy must refuse to believe

TWICE = POLICY + f'[[witnesses]]\nkey = "{Key("w8.example", W1.seed, 4).public}"\n'
POLICIES = {
    "one witness under two names": TWICE,
    "one name with two keys": POLICY + f'[[witnesses]]\nkey = "{Key(W1.name, 40, 4).public}"\n',
    "the log is its own witness": POLICY + f'[[witnesses]]\nkey = "{Key("w7", 1, 4).public}"\n',
    "the retired key is a witness": POLICY + f'[[witnesses]]\nkey = "{Key("w7", 2, 4).public}"\n',
    "a witness's key as log key": POLICY.replace(LOG.public, W1.public),
    "a log's key as witness": POLICY.replace(W1.public, Key(W1.name, W1.seed).public),
    "more quorum than witnesses": POLICY.replace("quorum = 2", "quorum = 4"),
    "negative quorum": POLICY.replace("quorum = 2", "quorum = -1"),
    "quorum as a boolean": POLICY.replace("quorum = 2", "quorum = true"),
    "no origin": POLICY.replace(ORIGIN, ""),
    "no age": POLICY.replace("= 25", "= 0"),
    "age that is no number": POLICY.replace("= 25", "= nan"),
    "endless age": POLICY.replace("= 25", "= inf"),
    "key that ends before it begins": POLICY.replace(
        "from_size = 101", "from_size = 101\nuntil_size = 100"
    ),
    "key that ends at 0 and begins later": POLICY.replace(
        "from_size = 101", "from_size = 101\nuntil_size = 0"
    ),
    "key of another hash": POLICY.replace(LOG.id.hex(), OLD.id.hex()),
    "unknown field": POLICY.replace("quorum", "quorums"),
    "unknown field of a key": POLICY.replace("from_size = 101", "from = 101"),
    "field twice": POLICY + "\nquorum = 2\n",
    "key under another name": POLICY.replace(W1.name, "W1.example"),
}


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_that_would_believe_too_much_is_refused(name):
    with pytest.raises(TrustError):
        Trust.parse(POLICIES[name])


@pytest.mark.parametrize(
    "kept",
    [
        note(LINES, EVIL, W1, W2),
        note(LINES, OLD, W1, W2),
        note(LINES, W1, W2),
        note(LINES, LOG, origin="audit.example/dev"),
        note(LINES).replace(b"\n300\n", b"\n299\n"),
        note(LINES).replace(b"\n300\n", b"\n0300\n"),
        note(LINES).partition(b"\n\n")[0],
        b"no note",
    ],
)
def test_an_anchor_that_no_key_of_the_log_signed_is_refused(kept):
    with pytest.raises(TrustError, match="anchor"):
        with_anchor(POLICY, kept)
