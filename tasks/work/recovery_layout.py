"""Which layout a source has: by what is listed, and by what lies behind it in older versions.

Whoever hides a sealed log behind delete markers and lays files of a legacy one before it must not
choose by what the log is judged. So a sealed log that was there is what is brought back.
"""

from collections.abc import Iterable

from tasks.clients.errors import Denied
from tasks.domain.errors import BadInput
from tasks.domain.ledger import Layout
from tasks.domain.ledger.legacy_manifest import log_path
from tasks.domain.local_paths import is_of_a_log
from tasks.sections.systems import StoreSettings
from tasks.work.log_heads import CHECKPOINTS
from tasks.work.log_segments import is_of_a_sealer
from tasks.work.log_versions import LogVersions, NoVersions, ObjectLogVersions

SEALED_FOLDERS = (CHECKPOINTS, "seg/")


def versions_of(settings: StoreSettings, bucket: str, prefix: str) -> tuple[LogVersions, str]:
    """The source's versions; none, with the reason, when we may not see them."""
    versions = ObjectLogVersions(settings, bucket, prefix)
    try:
        versions.below(CHECKPOINTS)
    except Denied:
        return NoVersions(), (
            "older versions were not looked at: grant s3:ListBucketVersions and "
            "s3:GetObjectVersion to find what was deleted or overwritten"
        )
    return versions, ""


def was_sealed(versions: LogVersions) -> bool:
    """Whether heads or segments of a sealed log are there, or were before they were deleted."""
    return any(
        is_of_a_sealer(each.path) for folder in SEALED_FOLDERS for each in versions.below(folder)
    )


def layout_of(source: object, paths: Iterable[str], versions: LogVersions) -> Layout:
    """The layout of what was brought (its paths) and of what lies behind.

    BadInput for no log at all; `source` names it.
    """
    listed = [path for path in paths if is_of_a_log(path)]
    if any(map(is_of_a_sealer, listed)) or was_sealed(versions):
        return Layout.SEALED
    if any(map(log_path, listed)):
        return Layout.LEGACY
    known = listed or [each.path for each in versions.below("") if is_of_a_log(each.path)]
    if not known:
        raise BadInput(
            f"{source}: expected the objects of a log, found none, nor older versions of any: is "
            "the prefix right?"
        )
    return Layout.LEGACY if all(map(log_path, known)) else Layout.SEALED
