"""Files and uploads, in and out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from watchword.service.types.files import StoredFile, Upload, UploadPart
from watchword.service.wire.base import ObjectId, Reply, Request, left_out
from watchword.service.wire.faults import invalid, unsupported

PURPOSE: Literal["fine-tune"] = "fine-tune"
RESULTS: Literal["fine-tune-results"] = "fine-tune-results"
# What OpenAI's API knows beside it.
_OTHER_PURPOSES = ("assistants", "batch", "vision", "user_data", "evals")
_SUFFIX = ".jsonl"


class FileObject(Reply):
    """A stored file."""

    object: Literal["file"] = "file"
    id: str
    bytes: int
    created_at: int
    filename: str
    purpose: Literal["fine-tune", "fine-tune-results"]
    status: Literal["uploaded", "processed", "error"]
    status_details: str | None = left_out()
    expires_at: int | None = left_out()


class FileDeleted(Reply):
    """A file that is gone."""

    object: Literal["file"] = "file"
    id: str
    deleted: bool = True


class ExpiresAfter(Request):
    """When a file is to be deleted."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=3600, le=2592000)]


class CreateUpload(Request):
    """A file that comes in parts."""

    bytes: Annotated[int, Field(ge=1)]
    filename: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    mime_type: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    purpose: str
    expires_after: ExpiresAfter | None = None


class CompleteUpload(Request):
    """Which parts the file is made of, in their order."""

    part_ids: Annotated[list[ObjectId], Field(min_length=1, max_length=10_000)]
    md5: Annotated[str, StringConstraints(pattern="^[0-9a-fA-F]{32}$")] | None = None


class UploadObject(Reply):
    """An upload; ``file`` is there once it is complete."""

    object: Literal["upload"] = "upload"
    id: str
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: Literal["fine-tune"]
    status: Literal["pending", "completed", "cancelled", "expired"]
    file: FileObject | None = None


class UploadPartObject(Reply):
    """One part of an upload."""

    object: Literal["upload.part"] = "upload.part"
    id: str
    created_at: int
    upload_id: str


def check_purpose(purpose: str | None) -> None:
    """Raises CallError for a purpose that is not offered here."""
    if purpose == PURPOSE:
        return
    if purpose in _OTHER_PURPOSES:
        raise unsupported(
            "purpose", f"Files of purpose {purpose!r} are not offered here; use 'fine-tune'.", param="purpose"
        )
    raise invalid("The purpose must be 'fine-tune'.", param="purpose")


def check_filename(filename: str) -> None:
    """Raises CallError for a file that is no training file by its name."""
    if not filename.lower().endswith(_SUFFIX):
        raise invalid(f"A training file is JSON lines, and its name ends in {_SUFFIX}.", param="file")


def file_object(file: StoredFile) -> FileObject:
    """A file as OpenAI's clients read it."""
    return FileObject(
        id=file.id,
        bytes=file.bytes,
        created_at=int(file.created_at),
        filename=file.filename,
        purpose=RESULTS if file.purpose == RESULTS else PURPOSE,
        status=file.status.value,
        status_details=file.status_details,
        expires_at=None if file.expires_at is None else int(file.expires_at),
    )


def upload_object(upload: Upload, file: StoredFile | None = None) -> UploadObject:
    """An upload as OpenAI's clients read it."""
    return UploadObject(
        id=upload.id,
        bytes=upload.bytes,
        created_at=int(upload.created_at),
        expires_at=int(upload.expires_at),
        filename=upload.filename,
        purpose=PURPOSE,
        status=upload.status.value,
        file=None if file is None else file_object(file),
    )


def part_object(part: UploadPart) -> UploadPartObject:
    """A part as OpenAI's clients read it."""
    return UploadPartObject(id=part.id, created_at=int(part.created_at), upload_id=part.upload_id)
