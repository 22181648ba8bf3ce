"""What OpenAI's clients can call and this service does not offer: a clear word instead of an unknown address."""

from __future__ import annotations

from fastapi import APIRouter

from watchword.service.api.context import tenant_key
from watchword.service.wire.faults import unsupported

router = APIRouter(prefix="/v1", tags=["not offered"], dependencies=[tenant_key], include_in_schema=False)


@router.api_route("/fine_tuning/checkpoints/{rest:path}", methods=["GET", "POST", "DELETE"])
def permissions(rest: str) -> None:  # noqa: ARG001
    """Checkpoints are their tenant's own."""
    raise unsupported("checkpoint_permissions", "Checkpoints cannot be shared here.", param="checkpoint")


@router.api_route("/fine_tuning/alpha/graders/{rest:path}", methods=["POST"])
def graders(rest: str) -> None:  # noqa: ARG001
    """They belong to reinforcement fine-tuning."""
    raise unsupported("graders", "Graders are not offered here; the method is 'supervised'.", param="grader")
