"""What an auditor bundle is made of: the names of its files, and those that are text of ours.

    MANIFEST                     SHA-256 of every other file, as sha256sum writes it, sorted
    README.txt                   what this is, in plain words
    verify.py                    verifies the bundle; needs Python and `cryptography` only
    trust.toml                   the policy: keys, witnesses, quorum, anchor
    verdict.json                 what the maker's own verification of the log said
    checkpoints/<size>           signed heads; the highest is the one that all proofs lead to
    consistency/<size>           from that older head to the highest (tlog-witness add-checkpoint)
    records/<seq>.tlog-proof     a selected record's leaf hash and its proof (C2SP tlog-proof)
    tile/0/...                   all leaf hashes (C2SP tlog-tiles), only in a full bundle
    lines/<first>-<last>.jsonl   the records themselves, only when asked for

`tasks.work.bundle_verifier`, which knows nothing of this module, reads the same.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.domain.errors import BadInput
from tasks.domain.ledger.checkpoints import Checkpoint
from tasks.domain.ledger.trust import Trust
from tasks.domain.ledger.verdicts import Finding, Verdict

MANIFEST = "MANIFEST"
README = "README.txt"
VERIFIER = "verify.py"
POLICY = "trust.toml"
VERDICT = "verdict.json"

MAX_FILES = 60_000
MAX_RECORDS = 20_000
MAX_OLDER_HEADS = 1_000
_MAX_FINDINGS = 500

_RANGE = re.compile(r"(0|[1-9][0-9]{0,18})(?:-(0|[1-9][0-9]{0,18}))?", re.ASCII)


def checkpoint_path(size: int) -> str:
    """The signed head of this size."""
    return f"checkpoints/{size}"


def consistency_path(size: int) -> str:
    """The proof that the newest head appends to this one."""
    return f"consistency/{size}"


def record_path(seq: int) -> str:
    """The proof of one record."""
    return f"records/{seq}.tlog-proof"


def lines_path(first: int, last: int) -> str:
    """The lines of the records `first` to `last`, both included."""
    return f"lines/{first}-{last}.jsonl"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which records a bundle is about: (first, last) pairs, both included, in order, apart."""

    ranges: tuple[tuple[int, int], ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Selection":
        """From `A-B[,C...]`, empty: none; BadInput names what is no range. Overlaps are merged."""
        found: list[tuple[int, int]] = []
        for part in text.split(",") if text else ():
            match = _RANGE.fullmatch(part.strip())
            first = int(match[1]) if match else 0
            last = int(match[2] or match[1]) if match else -1
            if last < first:
                raise BadInput(
                    f"expected records as A-B[,C...] with A <= B, found {ascii(part)[:60]}"
                )
            found.append((first, last))
        merged: list[tuple[int, int]] = []
        for first, last in sorted(found):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        return cls(tuple(merged))

    @property
    def count(self) -> int:
        """How many records."""
        return sum(last - first + 1 for first, last in self.ranges)

    def check(self, size: int) -> None:
        """BadInput unless all of them are sealed, and not too many for proofs one by one."""
        if self.ranges and self.ranges[-1][1] >= size:
            raise BadInput(
                f"expected records below {size}, the size of the newest head that verifies, found "
                f"{self.ranges[-1][1]}"
            )
        if self.count > MAX_RECORDS:
            raise BadInput(
                f"expected at most {MAX_RECORDS} selected records, found {self.count}: leave them "
                "out and make a full bundle, it covers every record"
            )


def manifest_text(digests: Mapping[str, str]) -> str:
    """`<sha256 hex>  <path>` a line, sorted by path: `sha256sum -c MANIFEST` reads it too."""
    return "".join(f"{digests[path]}  {path}\n" for path in sorted(digests))


def policy_text(trust: Trust) -> str:
    """The policy in its plainest form; `Trust.parse` gives the same policy back.

    Rendered anew, because comments of an operator's file are nobody else's business.
    """
    lines = [f"origin = {_quoted(trust.origin)}", f"quorum = {trust.quorum}"]
    if trust.max_age is not None:
        # The plain form has no exponents, which Python uses for very small numbers.
        lines.append(f"max_age_hours = {trust.max_age.total_seconds() / 3600:.9f}")
    for key in trust.log_keys:
        lines += ["", "[[log_keys]]", f"key = {_quoted(key.verifier.encoded)}"]
        lines.append(f"from_size = {key.from_size}")
        lines += [] if key.until_size is None else [f"until_size = {key.until_size}"]
    for witness in trust.witnesses:
        lines += ["", "[[witnesses]]", f"key = {_quoted(witness.encoded)}"]
    if trust.anchor:
        lines += ["", "[anchor]", f"note = {_quoted(trust.anchor)}"]
    return "\n".join(lines) + "\n"


def verdict_text(verdict: Verdict) -> str:
    """The maker's verdict without times, which differ, and without words.

    Words of findings may quote names and values that were found in records and stores: a bundle
    carries codes, places and hashes only.
    """
    said: dict[str, Any] = {
        "verdict": verdict.status.value,
        "checkpoint": {"origin": verdict.origin, "size": verdict.signed, "root": verdict.root},
        "records": verdict.records,
        "bytes": verdict.bytes,
        "layout": verdict.layout.value,
        "findings": [_without_words(each) for each in verdict.findings[:_MAX_FINDINGS]],
        "findings_in_all": len(verdict.findings),
    }
    return json.dumps(said, indent=2, sort_keys=True) + "\n"


def readme_text(head: Checkpoint, selected: Sequence[tuple[int, int]], *, lines: bool) -> str:
    """What the bundle is, for somebody who has never seen one."""
    about = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in selected[:20]) or "none"
    more = ", ..." if len(selected) > 20 else ""  # noqa: PLR2004  as many as fit a line or two
    content = _LINES if lines else _NO_LINES
    return _README.format(
        origin=ascii(head.origin)[1:-1],
        size=head.size,
        root=head.root.hex(),
        about=f"{about}{more}",
        content=content,
    )


def _without_words(finding: Finding) -> dict[str, Any]:
    said = finding.as_json()
    said.pop("detail", None)
    return said


def _quoted(text: str) -> str:
    """A TOML basic string. JSON's escapes are TOML's, but for DEL, which JSON leaves as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


_LINES = """\
PERSONAL DATA: lines/ holds audit records as they were written. Handle, store and delete this
bundle as you would the records themselves."""

_NO_LINES = """\
It holds hashes and signatures, not records: nobody can read from it what a record says. If you are
shown a record's line, it is the sealed one if SHA-256 over a zero byte and the line is the record's
leaf hash."""

_README = """\
PROOFS ABOUT AN AUDIT LOG

Log            {origin}
Records        {size}, numbered from 0
Root           {root}
Selected       {about}

This bundle lets you check, without trusting whoever gave it to you, that an audit log is the one
that was signed: that its older states are beginnings of its newest one, and that the selected
records stand where they are said to stand.

{content}

HOW TO CHECK IT

You need Python 3.9 or newer and the package cryptography. No network is used.

    python -I verify.py . --key "NAME+HASH+BASE64"

Get the log's key (and its witnesses', each with a --key of its own) from its operator by another
way than this bundle: their web site, a contract, a phone call. A policy file that you have from
them does as well: --trust FILE. Without either, the keys in trust.toml are used, which the maker of
this bundle chose, and the answer says so.

The verify.py in here came with the bundle, too. If that matters to you, take it from the project's
source (tasks/work/bundle_verifier.py), or read it: it is one file, made to be read.

The end says: 0 proved; 3 proved, but only under the keys in the bundle; 1 not proved; 2 could not
tell.

WHAT IT CANNOT MEAN

- Nothing about truth: a false record that was sealed is the record that was sealed.
- Nothing about records after those counted above, and not that this state is today's newest.
- Whoever holds the log's key can sign two histories and show you one. Witnesses are there against
  that: each signs one history only. Ask which ones the policy requires.
- This text, verdict.json and MANIFEST are the word of the bundle's maker. Nobody signed them.

FILES

    MANIFEST                     SHA-256 of every other file
    verify.py                    checks the bundle
    trust.toml                   the keys, witnesses and quorum of the maker's policy
    verdict.json                 what the maker's own verification of the log said
    checkpoints/SIZE             the signed states of the log (C2SP tlog-checkpoint)
    consistency/SIZE             that the newest state continues that older one (RFC 6962)
    records/SEQ.tlog-proof       a selected record's leaf hash and its proof (C2SP tlog-proof)
    tile/0/...                   all leaf hashes, in a full bundle only (C2SP tlog-tiles)
    lines/FIRST-LAST.jsonl       the records themselves, only if they were asked for
"""
