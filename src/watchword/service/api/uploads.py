"""Uploads: a large file in parts, put together when all are there."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence

from fastapi import APIRouter, BackgroundTasks, Request

from watchword.service.api.context import Caller, Service, ServiceDep, now, tenant_key
from watchword.service.api.files import check_in_turn
from watchword.service.api.receiving import receive_form, unknown_field
from watchword.service.crash import crash_point
from watchword.service.storage import Blob
from watchword.service.types.files import FileState, NewFile, NewUpload, Upload, UploadPart, UploadState
from watchword.service.types.tenants import Principal
from watchword.service.wire.faults import invalid
from watchword.service.wire.files import (
    PURPOSE,
    CompleteUpload,
    CreateUpload,
    UploadObject,
    UploadPartObject,
    check_filename,
    check_purpose,
    part_object,
    upload_object,
)

router = APIRouter(prefix="/v1/uploads", tags=["uploads"], dependencies=[tenant_key])
# As OpenAI has it: parts of 64 MB at most, and an hour for all of them.
PART_BYTES, LIFETIME = 64 << 20, 3600.0
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["data"],
                    "additionalProperties": False,
                    "properties": {"data": {"type": "string", "contentMediaType": "application/octet-stream"}},
                }
            }
        },
    }
}


@router.post("")
def create(body: CreateUpload, service: ServiceDep, caller: Caller) -> UploadObject:
    """Announces a file that comes in parts."""
    check_purpose(body.purpose)
    check_filename(body.filename)
    most = service.settings.limits_of(caller.tenant).file_bytes
    if body.bytes > most:
        raise invalid(f"A file may have {most} bytes at most.", param="bytes")
    wanted = NewUpload(
        purpose=PURPOSE,
        filename=body.filename,
        bytes=body.bytes,
        mime_type=body.mime_type,
        expires_at=now() + LIFETIME,
        file_expires_after=body.expires_after.seconds if body.expires_after else None,
    )
    return upload_object(service.database.create_upload(caller, wanted))


@router.post("/{upload_id}/parts", openapi_extra=_FORM)
async def add_part(upload_id: str, request: Request, service: ServiceDep, caller: Caller) -> UploadPartObject:
    """Takes one part."""
    upload = await asyncio.to_thread(service.database.upload, caller.tenant, upload_id)
    with service.blobs.writer() as writer:
        form = await receive_form(request, writer, file_field="data", max_bytes=min(PART_BYTES, upload.bytes))
        for name in form.fields:
            raise unknown_field(name)
        blob = await asyncio.to_thread(writer.commit)
    crash_point("after_part_stored")
    part = await asyncio.to_thread(_added, service, caller, upload_id, blob)
    crash_point("after_part_row")
    return part_object(part)


@router.post("/{upload_id}/complete")
def complete(
    upload_id: str, body: CompleteUpload, service: ServiceDep, caller: Caller, after: BackgroundTasks
) -> UploadObject:
    """Puts the parts together in the order that is given. The same call again gives the same answer."""
    upload = service.database.upload(caller.tenant, upload_id)
    if upload.status is UploadState.COMPLETED and upload.file_id is not None:
        return upload_object(upload, service.database.file(caller.tenant, upload.file_id))
    parts = service.database.upload_parts(caller.tenant, upload_id)
    chosen = _chosen(parts, body.part_ids)
    blob = _joined(service, upload, chosen, body.md5)
    crash_point("after_parts_joined")
    wanted = NewFile(
        purpose=upload.purpose,
        filename=upload.filename,
        bytes=blob.bytes,
        sha256=blob.sha256,
        blob=blob.name,
        status=FileState.UPLOADED,
        expires_at=None if upload.file_expires_after is None else now() + upload.file_expires_after,
    )
    try:
        done, file = service.database.complete_upload(caller, upload_id, wanted)
    except BaseException:
        service.blobs.delete(blob.name)
        raise
    crash_point("after_upload_completed")
    for part in parts:
        service.blobs.delete(part.blob)
    after.add_task(check_in_turn, service, file)
    return upload_object(done, file)


@router.post("/{upload_id}/cancel")
def cancel(upload_id: str, service: ServiceDep, caller: Caller) -> UploadObject:
    """Ends an upload; its parts are deleted."""
    parts = service.database.upload_parts(caller.tenant, upload_id)
    upload = service.database.cancel_upload(caller, upload_id)
    for part in parts:
        service.blobs.delete(part.blob)
    return upload_object(upload)


def _added(service: Service, caller: Principal, upload_id: str, blob: Blob) -> UploadPart:
    try:
        return service.database.add_part(caller, upload_id, blob.name, blob.bytes)
    except BaseException:
        service.blobs.delete(blob.name)
        raise


def _chosen(parts: Sequence[UploadPart], wanted: Sequence[str]) -> list[UploadPart]:
    known = {part.id: part for part in parts}
    if len(set(wanted)) != len(wanted):
        raise invalid("A part stands there twice.", param="part_ids")
    for part_id in wanted:
        if part_id not in known:
            raise invalid(f"There is no part {part_id[:64]!r} in this upload.", param="part_ids")
    return [known[part_id] for part_id in wanted]


def _joined(service: Service, upload: Upload, parts: Sequence[UploadPart], md5: str | None) -> Blob:
    """One blob of all parts. Raises CallError where it is not what was announced."""
    total = sum(part.bytes for part in parts)
    if total != upload.bytes:
        raise invalid(f"The parts have {total} bytes, and {upload.bytes} were announced.", param="part_ids")
    digest = hashlib.md5(usedforsecurity=False)
    with service.blobs.writer(most=upload.bytes) as writer:
        for part in parts:
            for piece in service.blobs.chunks(part.blob):
                digest.update(piece)
                writer.write(piece)
        if md5 is not None and digest.hexdigest() != md5.lower():
            raise invalid("The parts have another MD5 than was given.", param="md5")
        return writer.commit()
