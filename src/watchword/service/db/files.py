"""Tenants' files, and files that come in parts. The bytes are in the blob storage; here is what they are."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update

from watchword.errors import ConflictError
from watchword.service.db.audit import AuditQueries
from watchword.service.db.connect import locked, new_id
from watchword.service.db.rows import missing, of_owner, one, paged, plain, value_of
from watchword.service.db.schema import files, jobs, upload_parts, uploads
from watchword.service.db.tenants import TenantQueries
from watchword.service.types.files import FileState, NewFile, NewUpload, StoredFile, Upload, UploadPart, UploadState
from watchword.service.types.tenants import Owner, Page, Principal


class FileQueries(TenantQueries, AuditQueries):
    """Files and uploads of a tenant."""

    def create_file(self, principal: Principal, new: NewFile) -> StoredFile:
        """Notes a file whose blob is stored already. Raises QuotaError; the caller then deletes the blob."""
        with self._writing() as connection:
            held = self._with_room(connection, principal.tenant, new.bytes)
            stored = self._put_file(connection, principal.tenant, new)
            self._count(connection, held, files=1, size=new.bytes)
            facts = {"bytes": new.bytes, "sha256": new.sha256, "purpose": new.purpose}
            self._audit(
                connection, principal.key_id, "file.created", tenant=principal.tenant, subject=stored.id, facts=facts
            )
        return stored

    def check_room(self, principal: Principal, size: int) -> None:
        """Raises QuotaError where a file of this size would be refused: to ask before its bytes are taken."""
        with self._writing() as connection:
            self._with_room(connection, principal.tenant, size)

    def file(self, owner: Owner, file_id: str) -> StoredFile:
        """Raises NotFoundError for one that has expired as well."""
        statement = select(files).where(of_owner(files, owner), files.c.id == file_id, self._unexpired())
        with self._reading() as connection:
            return value_of(one(connection, statement, "file", file_id), StoredFile)

    def job_file(self, tenant: str, file_id: str) -> StoredFile:
        """A file of an unfinished job, which is kept for it past its date. Raises NotFoundError."""
        statement = select(files).where(files.c.tenant == tenant, files.c.id == file_id)
        with self._reading() as connection:
            return value_of(one(connection, statement, "file", file_id), StoredFile)

    def files(
        self,
        owner: Owner,
        *,
        after: str | None = None,
        limit: int = 10_000,
        purpose: str | None = None,
        order: Literal["asc", "desc"] = "desc",
    ) -> Page[StoredFile]:
        """A page of the tenant's files, newest first unless ``order`` says otherwise."""
        where = [of_owner(files, owner), self._unexpired()]
        if purpose is not None:
            where.append(files.c.purpose == purpose)
        with self._reading() as connection:
            return paged(connection, files, where, StoredFile, after=after, limit=limit, ascending=order == "asc")

    def delete_file(self, principal: Principal, file_id: str) -> StoredFile:
        """Removes the record; the caller then deletes the blob. Raises NotFoundError, and ConflictError while a job needs it."""
        with self._writing() as connection:
            held = self._held_tenant(connection, principal.tenant)
            statement = select(files).where(files.c.tenant == principal.tenant, files.c.id == file_id)
            stored = value_of(one(connection, statement, "file", file_id), StoredFile)
            if job_id := _needed_by(connection, file_id):
                raise ConflictError(f"the file is in use by the job {job_id}; cancel it, or wait until it has ended")
            connection.execute(delete(files).where(files.c.id == file_id))
            self._count(connection, held, files=-1, size=-stored.bytes)
            self._audit(connection, principal.key_id, "file.deleted", tenant=principal.tenant, subject=file_id)
        return stored

    def settle_file(self, file_id: str, status: FileState, details: str | None) -> None:
        """Notes how the check of an uploaded file went. One that is gone, or was checked before, stays as it is."""
        where = files.c.id == file_id, files.c.status == FileState.UPLOADED
        with self._writing() as connection:
            connection.execute(update(files).where(*where).values(status=status, status_details=details))

    def unchecked_files(self, *, older_than: float, limit: int = 20) -> list[StoredFile]:
        """Files that were uploaded before and whose check has not ended: it was lost with its process."""
        where = files.c.status == FileState.UPLOADED, files.c.created_at < older_than
        statement = select(files).where(*where).order_by(files.c.seq).limit(limit)
        with self._reading() as connection:
            return [value_of(row, StoredFile) for row in connection.execute(statement)]

    def expired_files(self, limit: int = 100) -> list[StoredFile]:
        """Files past their date that no job needs; remove each by ``drop_file``."""
        statement = select(files).where(files.c.expires_at <= self._now()).order_by(files.c.expires_at).limit(limit)
        with self._reading() as connection:
            found = [value_of(row, StoredFile) for row in connection.execute(statement)]
            return [stored for stored in found if not _needed_by(connection, stored.id)]

    def drop_file(self, stored: StoredFile) -> StoredFile:
        """``delete_file`` in the service's own name, for a file that has expired."""
        return self.delete_file(Principal(stored.tenant, "retention"), stored.id)

    def create_upload(self, principal: Principal, new: NewUpload) -> Upload:
        """A file that is to come in parts. Raises QuotaError where it would not fit."""
        with self._writing() as connection:
            self._with_room(connection, principal.tenant, new.bytes)
            made = Upload(
                new_id("upload_"),
                principal.tenant,
                status=UploadState.PENDING,
                created_at=self._now(),
                file_id=None,
                **_fields(new),
            )
            connection.execute(insert(uploads).values(**plain(made)))
        return made

    def upload(self, tenant: str, upload_id: str) -> Upload:
        """Raises NotFoundError."""
        statement = select(uploads).where(uploads.c.tenant == tenant, uploads.c.id == upload_id)
        with self._reading() as connection:
            return value_of(one(connection, statement, "upload", upload_id), Upload)

    def upload_parts(self, tenant: str, upload_id: str) -> list[UploadPart]:
        """The parts that have come, in the order in which they came. Raises NotFoundError for an unknown upload."""
        self.upload(tenant, upload_id)
        with self._reading() as connection:
            return _parts(connection, upload_id)

    def add_part(self, principal: Principal, upload_id: str, blob: str, size: int) -> UploadPart:
        """Notes a part whose blob is stored. Raises ConflictError for an upload that has ended, or would become too large."""
        with self._writing() as connection:
            found = self._pending(connection, principal.tenant, upload_id)
            before = sum(part.bytes for part in _parts(connection, upload_id))
            if before + size > found.bytes:
                raise ConflictError(
                    f"the parts would have {before + size} bytes, and the upload was announced with {found.bytes}"
                )
            part = UploadPart(new_id("part_"), upload_id, size, blob, self._now())
            connection.execute(insert(upload_parts).values(**plain(part)))
        return part

    def complete_upload(self, principal: Principal, upload_id: str, new: NewFile) -> tuple[Upload, StoredFile]:
        """Makes the upload a file, whose blob the caller has put together. Raises ConflictError, QuotaError.

        The parts' blobs are then the caller's to delete.
        """
        with self._writing() as connection:
            held = self._held_tenant(connection, principal.tenant)
            found = self._pending(connection, principal.tenant, upload_id)
            if new.bytes != found.bytes:
                raise ConflictError(
                    f"the parts have {new.bytes} bytes, and the upload was announced with {found.bytes}"
                )
            others = _announced(connection, principal.tenant) - found.bytes
            self._check_room(held, new.bytes, announced=others)
            stored = self._put_file(connection, principal.tenant, new)
            self._count(connection, held, files=1, size=new.bytes)
            values = {"status": UploadState.COMPLETED, "file_id": stored.id}
            connection.execute(update(uploads).where(uploads.c.id == upload_id).values(**values))
            facts = {"bytes": new.bytes, "sha256": new.sha256, "purpose": new.purpose, "upload": upload_id}
            self._audit(
                connection, principal.key_id, "file.created", tenant=principal.tenant, subject=stored.id, facts=facts
            )
        return self.upload(principal.tenant, upload_id), stored

    def cancel_upload(self, principal: Principal, upload_id: str) -> Upload:
        """Ends an upload; its parts' blobs are then the caller's to delete. Raises ConflictError for one that has ended."""
        with self._writing() as connection:
            self._pending(connection, principal.tenant, upload_id)
            values = {"status": UploadState.CANCELLED}
            connection.execute(update(uploads).where(uploads.c.id == upload_id).values(**values))
        return self.upload(principal.tenant, upload_id)

    def expire_uploads(self) -> list[UploadPart]:
        """Ends uploads past their date. Their parts, whose blobs are then the caller's to delete."""
        with self._writing() as connection:
            late = uploads.c.status == UploadState.PENDING, uploads.c.expires_at <= self._now()
            ids = connection.execute(select(uploads.c.id).where(*late).limit(100)).scalars().all()
            connection.execute(update(uploads).where(uploads.c.id.in_(ids)).values(status=UploadState.EXPIRED))
            return [part for upload_id in ids for part in _parts(connection, upload_id)]

    def blob_names(self) -> set[str]:
        """Every blob that a record names; ``Blobs.sweep`` removes the others."""
        with self._reading() as connection:
            named = set(connection.execute(select(files.c.blob)).scalars())
            pending = select(upload_parts.c.blob).join(uploads).where(uploads.c.status == UploadState.PENDING)
            return named | set(connection.execute(pending).scalars())

    def _put_file(self, connection: Connection, tenant: str, new: NewFile) -> StoredFile:
        stored = StoredFile(new_id("file-"), tenant, created_at=self._now(), **_fields(new))
        connection.execute(insert(files).values(**plain(stored)))
        return stored

    def _with_room(self, connection: Connection, tenant: str, size: int) -> Row[Any]:
        """The tenant's row, held, with room for a file of this size beside uploads under way. Raises QuotaError."""
        held = self._held_tenant(connection, tenant)
        self._check_room(held, size, announced=_announced(connection, tenant))
        return held

    def _pending(self, connection: Connection, tenant: str, upload_id: str) -> Upload:
        statement = locked(select(uploads).where(uploads.c.tenant == tenant, uploads.c.id == upload_id))
        found = value_of(one(connection, statement, "upload", upload_id), Upload)
        if found.status is not UploadState.PENDING:
            raise ConflictError(f"the upload is {found.status}; start another one")
        if found.expires_at <= self._now():
            raise ConflictError("the upload has expired; start another one")
        return found

    def _unexpired(self) -> Any:
        return or_(files.c.expires_at.is_(None), files.c.expires_at > self._now())

    def _check_file(self, connection: Connection, tenant: str, file_id: str, param: str) -> None:
        """Raises NotFoundError for a file that is not there to train on."""
        statement = select(files.c.id).where(files.c.tenant == tenant, files.c.id == file_id, self._unexpired())
        if connection.execute(statement).one_or_none() is None:
            raise missing("file", file_id, param)


def _needed_by(connection: Connection, file_id: str) -> str | None:
    """An unfinished job that trains or is measured on the file."""
    uses = or_(jobs.c.training_file == file_id, jobs.c.validation_file == file_id)
    statement = select(func.min(jobs.c.id)).where(uses, jobs.c.finished_at.is_(None))
    found: str | None = connection.execute(statement).scalar_one()
    return found


def _announced(connection: Connection, tenant: str) -> int:
    """Bytes of the tenant's uploads that have not ended: their parts may all be stored already."""
    pending = uploads.c.tenant == tenant, uploads.c.status == UploadState.PENDING
    return int(connection.execute(select(func.coalesce(func.sum(uploads.c.bytes), 0)).where(*pending)).scalar_one())


def _parts(connection: Connection, upload_id: str) -> list[UploadPart]:
    order = upload_parts.c.created_at, upload_parts.c.id
    statement = select(upload_parts).where(upload_parts.c.upload_id == upload_id).order_by(*order)
    return [value_of(row, UploadPart) for row in connection.execute(statement)]


def _fields(new: NewFile | NewUpload) -> dict[str, Any]:
    return {name: getattr(new, name) for name in new.__dataclass_fields__}
