"""Files and uploads of tenants, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FileState(StrEnum):
    """``ERROR``: what is wrong stands in ``StoredFile.status_details``."""

    UPLOADED = "uploaded"
    PROCESSED = "processed"
    ERROR = "error"


class UploadState(StrEnum):
    """Of a file that comes in parts."""

    PENDING = "pending"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


@dataclass(frozen=True)
class NewFile:
    """A file whose bytes are in the blob storage already, under the name ``blob``."""

    purpose: str
    filename: str
    bytes: int
    sha256: str
    blob: str
    status: FileState = FileState.PROCESSED
    status_details: str | None = None
    expires_at: float | None = None


@dataclass(frozen=True)
class StoredFile:
    """A tenant's file. ``blob`` is its name in the blob storage; the bytes there are those that were uploaded."""

    id: str
    tenant: str
    purpose: str
    filename: str
    bytes: int
    sha256: str
    blob: str
    status: FileState
    status_details: str | None
    created_at: float
    expires_at: float | None


@dataclass(frozen=True)
class NewUpload:
    """What a tenant announces: a file of ``bytes`` bytes, to come in parts."""

    purpose: str
    filename: str
    bytes: int
    mime_type: str
    expires_at: float
    file_expires_after: int | None = None


@dataclass(frozen=True)
class UploadPart:
    """One part of an upload, already in the blob storage."""

    id: str
    upload_id: str
    bytes: int
    blob: str
    created_at: float


@dataclass(frozen=True)
class Upload:
    """A file that comes in parts. ``file_id`` stands there once it is complete."""

    id: str
    tenant: str
    purpose: str
    filename: str
    bytes: int
    mime_type: str
    status: UploadState
    created_at: float
    expires_at: float
    file_expires_after: int | None
    file_id: str | None
