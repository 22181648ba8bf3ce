"""Files: uploaded by tenants, checked, and given back byte for byte."""

from __future__ import annotations

import asyncio
import functools
import re
from typing import Annotated, Literal

from fastapi import APIRouter, BackgroundTasks, Query, Request
from fastapi.responses import StreamingResponse

from watchword.errors import NotFoundError, WatchwordError
from watchword.service.api.context import Caller, Service, ServiceDep, now, tenant_key
from watchword.service.api.edge import reason_of
from watchword.service.api.receiving import ReceivedForm, receive_form, unknown_field
from watchword.service.crash import crash_point
from watchword.service.logs import log
from watchword.service.types.files import FileState, NewFile, StoredFile
from watchword.service.types.tenants import Principal
from watchword.service.wire.base import Page, page_of
from watchword.service.wire.faults import invalid
from watchword.service.wire.files import PURPOSE, FileDeleted, FileObject, check_filename, check_purpose, file_object

router = APIRouter(prefix="/v1/files", tags=["files"], dependencies=[tenant_key])
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "additionalProperties": False,
                    "properties": {
                        "file": {"type": "string", "contentMediaType": "application/octet-stream"},
                        "purpose": {"type": "string", "enum": [PURPOSE]},
                        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
                        "expires_after[seconds]": {"type": "integer", "minimum": 3600, "maximum": 2592000},
                    },
                }
            }
        },
    }
}
_ANCHOR, _SECONDS = "expires_after[anchor]", "expires_after[seconds]"
# Python refuses to read a number of thousands of digits.
_NUMBER = re.compile(r"[0-9]{1,9}")


@router.post("", openapi_extra=_FORM)
async def create(request: Request, service: ServiceDep, caller: Caller, after: BackgroundTasks) -> FileObject:
    """Uploads a file. It is checked afterwards: ask for it until its status is processed or error."""
    limits = service.settings.limits_of(caller.tenant)
    length = request.headers.get("content-length", "")
    await asyncio.to_thread(service.database.check_room, caller, int(length) if length.isdecimal() else 0)
    with service.blobs.writer(most=limits.file_bytes) as writer:
        form = await receive_form(request, writer, file_field="file", max_bytes=limits.file_bytes)
        lifetime = _checked(form)
        blob = await asyncio.to_thread(writer.commit)
    crash_point("after_file_stored")
    wanted = NewFile(
        purpose=PURPOSE,
        filename=form.filename or "",
        bytes=blob.bytes,
        sha256=blob.sha256,
        blob=blob.name,
        status=FileState.UPLOADED,
        expires_at=None if lifetime is None else now() + lifetime,
    )
    file = await asyncio.to_thread(stored, service, caller, wanted)
    crash_point("after_file_row")
    after.add_task(check_in_turn, service, file)
    return file_object(file)


@router.get("")
def list_files(
    service: ServiceDep,
    caller: Caller,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
    purpose: str | None = None,
) -> Page[FileObject]:
    """The tenant's files, the newest first unless asked otherwise."""
    page = service.database.files(caller.tenant, after=after, limit=limit, order=order, purpose=purpose)
    return page_of([file_object(file) for file in page.items], page.has_more)


@router.get("/{file_id}")
def retrieve(file_id: str, service: ServiceDep, caller: Caller) -> FileObject:
    """One file, and how its check went."""
    return file_object(service.database.file(caller.tenant, file_id))


@router.get(
    "/{file_id}/content",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/octet-stream": {}}, "description": "The bytes as they were uploaded."}},
)
def content(file_id: str, service: ServiceDep, caller: Caller) -> StreamingResponse:
    """The very bytes that were uploaded; of a result file, its CSV."""
    file = service.database.file(caller.tenant, file_id)
    if not service.blobs.exists(file.blob):
        raise NotFoundError("the file's content is gone; upload it again")
    headers = {
        "content-length": str(file.bytes),
        "content-disposition": "attachment",
        "x-content-type-options": "nosniff",
    }
    return StreamingResponse(service.blobs.chunks(file.blob), media_type="application/octet-stream", headers=headers)


@router.delete("/{file_id}")
def delete(file_id: str, service: ServiceDep, caller: Caller) -> FileDeleted:
    """Deletes a file with its bytes, unless a job still needs it."""
    gone = service.database.delete_file(caller, file_id)
    crash_point("after_file_deleted")
    service.blobs.delete(gone.blob)
    return FileDeleted(id=file_id)


def stored(service: Service, caller: Principal, wanted: NewFile) -> StoredFile:
    """The file's record. Where the tenant has too much already, its bytes go again."""
    try:
        return service.database.create_file(caller, wanted)
    except BaseException:
        service.blobs.delete(wanted.blob)
        raise


async def check_in_turn(service: Service, file: StoredFile) -> None:
    """``check`` beside the calls, one file after another, as tenants take turns: files that wait hold no thread that calls need.

    The call is answered already: a check that failed is noted here, and made again by the housekeeping.
    """
    try:
        await service.checker.in_turn(file, functools.partial(check, service, file))
    except WatchwordError as error:
        log.error({"event": "check failed", "file": file.id, "kind": type(error).__name__, "why": reason_of(error)})


def check(service: Service, file: StoredFile) -> None:
    """Checks an uploaded file, and notes the verdict. One that is gone by then is no fault."""
    try:
        with service.blobs.local(file.blob) as path:
            found = service.checker.check(path)
        crash_point("after_file_checked")
        status = FileState.PROCESSED if found.problem is None else FileState.ERROR
        service.database.settle_file(file.id, status, found.problem)
    except NotFoundError:
        return


def _checked(form: ReceivedForm) -> int | None:
    """How long the file is to be kept, in seconds. Raises CallError for fields that do not fit."""
    fields = dict(form.fields)
    check_purpose(fields.pop("purpose", None))
    check_filename(form.filename or "")
    anchor, seconds = fields.pop(_ANCHOR, None), fields.pop(_SECONDS, None)
    for name in fields:
        raise unknown_field(name)
    if form.size == 0:
        raise invalid("The file is empty.", param="file")
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise invalid("The anchor must be 'created_at'.", param="expires_after.anchor")
    if seconds is None or not _NUMBER.fullmatch(seconds) or not 3600 <= int(seconds) <= 2592000:
        raise invalid("Give 3600 to 2592000 seconds.", param="expires_after.seconds")
    return int(seconds)
