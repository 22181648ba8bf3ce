"""The first step of a run: the tenant's file, guarded as the API is to get it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from watchword.chat.types import TENANT, last_user_text
from watchword.data.token_estimate import estimate
from watchword.defenses.base import DEFENSES, Defense
from watchword.files.addresses import Address
from watchword.guarding.engine import GuardJob, Outcome, guard_file
from watchword.guarding.exporters.base import EXPORTERS
from watchword.guarding.known import known_secrets
from watchword.guarding.voice import aligned_model
from watchword.models.base import ChatModel
from watchword.models.facts import ModelFacts, length_limit
from watchword.models.remote import RemoteEndpoint, RemoteModel
from watchword.progress import Step
from watchword.remote.notice import Estimate
from watchword.remote.profiles.base import PROFILES, Profile
from watchword.remote.state import GUARDED, GuardedFile, RemoteRequest
from watchword.remote.work import Tell
from watchword.secret.prompt import SecretPrompt

# What ``aligned`` names where the API's own model is to be asked.
REMOTE = "remote"


def guarded_file(
    request: RemoteRequest,
    model: ModelFacts,
    work: Path,
    secret: SecretPrompt | None,
    *,
    key: bytes,
    known: Iterable[Path],
    step: Step,
    tell: Tell,
) -> GuardedFile:
    """Writes ``work/guarded.jsonl`` in the chat format of ``model``.

    Raises what ``guarding.engine.guard_file`` raises, and DataError by the API's own rules.
    """
    profile = PROFILES.create(request.profile)
    defense, source = DEFENSES.create(request.defense, **request.arguments), Address.parse(request.data)
    job = GuardJob(
        source=source,
        out=Address(work / GUARDED),
        model=model,
        defense=defense,
        exporter=EXPORTERS.create(profile.exporter),
        max_length=length_limit(request.max_length, model),
        secret=secret,
        known=known_secrets((source, Address(work.parent)), known, lambda: key),
        aligned=_voice(request, profile, model, defense, step),
        seed=request.seed,
        scratch=work,
        reading=request.reading,
    )
    found = guard_file(job, step=step)
    for text in found.profile.remarks.texts():
        tell(f"warning: {text}")
    if found.profile.long_count:
        tell(
            f"warning: {found.profile.long_count} rows are longer than {job.max_length} tokens: {job.exporter.long_rows}"
        )
    profile.check_file(found.profile.rows + len(found.rows), found.size, str(source))
    return _told(found, request, profile, model)


def _voice(
    request: RemoteRequest, profile: Profile, model: ModelFacts, defense: Defense, step: Step
) -> ChatModel | None:
    """The model that is asked for echoes, where one is named."""
    if request.aligned is None:
        return None
    if request.aligned != REMOTE:
        return aligned_model(request.aligned, defense, step)
    url = profile.chat_address(profile.address(request.url))
    return RemoteModel(RemoteEndpoint(url, request.model, request.key_env or profile.key_env), model.template)


def _told(found: Outcome, request: RemoteRequest, profile: Profile, model: ModelFacts) -> GuardedFile:
    counted = estimate(found.profile.samples, found.profile.size, model.template)
    tokens = (counted.total if counted is not None else 0) + sum(row.tokens for row in found.rows)
    epochs = request.hyperparameters.get("n_epochs", "auto")
    rows = Counter({TENANT: found.profile.rows}) + Counter(row.origin for row in found.rows)
    different = {(row.origin, last_user_text(row.conversation)) for row in found.rows}
    return GuardedFile(
        sha256=found.sha256,
        size=found.size,
        source_sha256=found.source_sha256,
        rows=dict(rows),
        added=dict(Counter(origin for origin, _ in different)),
        dropped=dict(found.profile.dropped),
        estimate=Estimate(
            rows=sum(rows.values()),
            tokens=tokens,
            epochs=profile.epochs if epochs == "auto" else int(epochs),
            epochs_are_assumed=epochs == "auto",
            price=request.price,
        ),
    )
