"""Models: the bases that can be fine-tuned here, and the tenant's own."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter, BackgroundTasks

from watchword.errors import CallError, NotFoundError, OutputError
from watchword.service.api.context import Caller, Service, ServiceDep, tenant_key
from watchword.service.crash import crash_point
from watchword.service.logs import log
from watchword.service.types.tenants import Principal
from watchword.service.wire.models import ModelDeleted, ModelList, ModelObject

router = APIRouter(prefix="/v1/models", tags=["models"], dependencies=[tenant_key])
_PROVIDER = "provider"


@router.get("")
def list_models(service: ServiceDep, caller: Caller) -> ModelList:
    """Every model that the caller can fine-tune or call."""
    return ModelList(data=list(_models(service, caller)))


@router.get("/{model:path}")
def retrieve(model: str, service: ServiceDep, caller: Caller) -> ModelObject:
    """One of them."""
    for found in _models(service, caller):
        if found.id == model:
            return found
    raise _unknown(model)


@router.delete("/{model:path}")
def delete(model: str, service: ServiceDep, caller: Caller, later: BackgroundTasks) -> ModelDeleted:
    """Deletes a tuned model for good: nobody can call it, and its weights and its secret are removed."""
    if model in service.settings.policies:
        raise CallError(
            "A base model is the provider's and cannot be deleted.",
            openai_code="insufficient_permissions",
            param="model",
        )
    try:
        retired = service.database.delete_model(caller, model)
    except NotFoundError:
        raise _unknown(model) from None
    crash_point("after_model_deleted")
    # Before the answer, which says that they are gone. The engine may take its time, and so may a store that is away: the
    # model has been deleted in any case, and the housekeeping goes on until nothing is left.
    try:
        service.removal.from_disk(retired)
    except OutputError as error:
        log.error({"event": "release is not removed", "kind": type(error).__name__})
    later.add_task(service.removal.tried, retired)
    return ModelDeleted(id=model)


def _models(service: Service, caller: Principal) -> Iterator[ModelObject]:
    for name in service.settings.policies:
        yield ModelObject(id=name, created=0, owned_by=_PROVIDER)
    for tuned in service.database.models(caller.tenant):
        yield ModelObject(id=tuned.name, created=int(tuned.created_at), owned_by=tuned.tenant)


def _unknown(model: str) -> CallError:
    return CallError(
        f"The model {model[:128]!r} does not exist or you do not have access to it.",
        openai_code="model_not_found",
        param="model",
    )
