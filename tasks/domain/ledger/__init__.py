"""The ledger: what makes the audit log and our own journal tamper-evident. Pure; see README.md."""

from tasks.domain.ledger.checkpoints import (
    Checkpoint,
    CheckpointError,
    open_checkpoint,
    parse_checkpoint,
    sign_checkpoint,
)
from tasks.domain.ledger.hashing import (
    EMPTY_ROOT,
    HASH_SIZE,
    leaf_hash,
    leaf_hashes,
    node_hash,
    tree_root,
)
from tasks.domain.ledger.notes import (
    NoteError,
    NoteSignatureError,
    NoteSigner,
    NoteVerifier,
    open_note,
)
from tasks.domain.ledger.proofs import (
    ProofError,
    verify_consistency,
    verify_inclusion,
)
from tasks.domain.ledger.records import (
    GENESIS_PREV,
    LOST_EVENT,
    RecordError,
    canonical_line,
    chain_link,
    is_tombstone,
    lost_leaf,
    parse_line,
    tombstone_line,
)
from tasks.domain.ledger.tree import CompactRange, MerkleTree
from tasks.domain.ledger.verdicts import (
    INFORMATIONAL,
    Code,
    Finding,
    Status,
    Verdict,
    combine,
)

__all__ = [
    "EMPTY_ROOT",
    "GENESIS_PREV",
    "HASH_SIZE",
    "INFORMATIONAL",
    "LOST_EVENT",
    "Checkpoint",
    "CheckpointError",
    "Code",
    "CompactRange",
    "Finding",
    "MerkleTree",
    "NoteError",
    "NoteSignatureError",
    "NoteSigner",
    "NoteVerifier",
    "ProofError",
    "RecordError",
    "Status",
    "Verdict",
    "canonical_line",
    "chain_link",
    "combine",
    "is_tombstone",
    "leaf_hash",
    "leaf_hashes",
    "lost_leaf",
    "node_hash",
    "open_checkpoint",
    "open_note",
    "parse_checkpoint",
    "parse_line",
    "sign_checkpoint",
    "tombstone_line",
    "tree_root",
    "verify_consistency",
    "verify_inclusion",
]
