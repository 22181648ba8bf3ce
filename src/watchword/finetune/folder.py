"""The folder of one training: one process at a time, private while it is unfinished, and a release that appears whole.

OUT/work            an unfinished run: job.json, the sealed secret and rows, checkpoints; for its owner only
OUT/work/release    what will be served; complete once its manifest is there, and moved up from then on
OUT/manifest.json   moves up last: without it, nothing in OUT is trusted
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from watchword.errors import OutputError, UsageError
from watchword.files.atomic import check_writable
from watchword.files.folders import PRIVATE_FOLDER, discard, make_private, sweep
from watchword.files.locks import locked
from watchword.files.writing import sync_folder, writing
from watchword.finetune.guarded_rows import GUARDED
from watchword.release.artifact import MANIFEST, ReleaseManifest, signed_manifest
from watchword.training.checkpoints import newest_checkpoint

WORK, UNFINISHED, JOB, RELEASE, LOCK = "work", "secret.unfinished", "job.json", "release", ".lock"
# What cannot be resumed is renamed before it is deleted, so that half of it is never taken for a run.
_DISCARDED = ".discarded-"


@contextlib.contextmanager
def alone(out: Path, resume: bool) -> Iterator[None]:
    """One process at a time in ``out``, which is made if need be, and gone again at the end if nothing is in it."""
    if resume and not (out / WORK).is_dir():
        raise _nothing_to_resume(out)
    if out.exists() and not out.is_dir():
        raise OutputError("this is a file; name a new folder", path=out)
    made = not out.exists()
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    try:
        with locked(out, at=out / LOCK):
            yield
    finally:
        if made:
            with contextlib.suppress(OSError):
                out.rmdir()


@contextlib.contextmanager
def work_folder(out: Path, resume: bool) -> Iterator[Path]:
    """The folder of the unfinished run, for its owner only.

    A new run that breaks off before its first checkpoint leaves nothing to resume, so it does not keep the name taken.
    One that was killed then is in nobody's way either.
    """
    work = out / WORK
    if resume and not work.is_dir():
        raise _nothing_to_resume(out)
    if not resume:
        _clear(out, work)
    with writing(out):
        work.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        make_private(work)
    check_writable(work / JOB)
    try:
        yield work
    except BaseException:
        if not resume and not _worth_resuming(work):
            discard(work, _DISCARDED)
        raise


def gather(weights: Path, work: Path) -> None:
    """Puts the files of the model in ``weights`` into the release, in the place of what a broken-off run has put there."""
    release = work / RELEASE
    shutil.rmtree(release, ignore_errors=True)
    with writing(release):
        release.mkdir(mode=PRIVATE_FOLDER)
    _moved([path for path in weights.iterdir() if path.is_file() and not _is_own(path)], release)
    for path in release.iterdir():
        with writing(path), path.open("rb+") as stream:
            os.fsync(stream.fileno())


def finished(out: Path, work: Path, key: bytes) -> ReleaseManifest | None:
    """The manifest of a run that was broken off while its files moved up, or later: there is nothing left to train."""
    if not ((work / RELEASE / MANIFEST).exists() or (out / MANIFEST).exists()):
        return None
    publish(out, work)
    return signed_manifest(out, key)


def publish(out: Path, work: Path) -> None:
    """Moves a complete release up into ``out``, its manifest last, and removes the rest. Goes on where it was broken off."""
    release = work / RELEASE
    if (release / MANIFEST).exists():
        make_private(release)
        _moved([path for path in release.iterdir() if path.name != MANIFEST], out)
        with writing(out):
            sync_folder(out)
        _moved([release / MANIFEST], out)
    shutil.rmtree(work, ignore_errors=True)


def _clear(out: Path, work: Path) -> None:
    """Removes what a killed run has left that cannot be resumed. Raises OutputError where anything else is in ``out``."""
    sweep(out, _DISCARDED)
    names = {path.name for path in out.iterdir()} - {LOCK}
    if names == {WORK} and _is_ours(work) and not _worth_resuming(work):
        with writing(out):
            discard(work, _DISCARDED)
    elif names:
        raise OutputError(
            "the folder is not empty; name a new one, or go on with an unfinished run there by `resume=True`", path=out
        )


def _is_ours(work: Path) -> bool:
    """Whether a training made this folder: the job is the first thing in it."""
    if not work.is_dir():
        return False
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        job = msgspec.json.decode((work / JOB).read_bytes())
        return isinstance(job, dict) and {"defense", "secret_tokens"} <= job.keys()
    return all(path.name.startswith(f".{JOB}.") and path.is_file() for path in work.iterdir())


def _worth_resuming(work: Path) -> bool:
    return newest_checkpoint(work) is not None or (work / RELEASE / MANIFEST).exists()


def _nothing_to_resume(out: Path) -> UsageError:
    return UsageError(f"there is no unfinished run in {out} to resume; start it without `resume`", param="resume")


def _moved(paths: Iterable[Path], into: Path) -> None:
    with writing(into):
        for path in paths:
            path.replace(into / path.name)


def _is_own(path: Path) -> bool:
    """Whether a file of the work folder is none of the model's."""
    return path.name in (UNFINISHED, GUARDED, JOB) or path.name.startswith(".")
