"""Embeddings: a request for a model without a release, from a tenant to its server and back."""

from __future__ import annotations

from collections.abc import Mapping

from watchword.gateway.call import Counts
from watchword.gateway.configuration import EmbeddingsSettings
from watchword.gateway.tenants import Tenant
from watchword.gateway.upstream import EMBEDDINGS, Upstream
from watchword.gateway.wire.embeddings import embeddings_body, embeddings_json, read_embeddings
from watchword.gateway.wire.faults import unsupported_model


class Embedding:
    """One request. Raises CallError for a model that is not the tenant's, and for one that has a release.

    A release's model is never asked without its secret, and there is no place for one in front of a text to embed.
    """

    def __init__(self, data: bytes, tenant: Tenant, models: Mapping[str, EmbeddingsSettings]) -> None:
        self._body = read_embeddings(data)
        tenant.check_may_call(self._body.model)
        if self._body.model not in models:
            raise unsupported_model("makes no embeddings; ask it at /v1/chat/completions.", self._body.model)
        self.model = models[self._body.model]
        self.counts: Counts | None = None

    async def asked(self, upstream: Upstream) -> bytes:
        """The body of the reply. Raises CallError."""
        data = await upstream.whole(embeddings_body(self._body, self.model.upstream_model), EMBEDDINGS)
        reply, self.counts = embeddings_json(self._body, data)
        return reply
