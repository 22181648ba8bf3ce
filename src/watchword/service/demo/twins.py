"""Two services that differ in their policy alone, one poisoned file, and the same questions to both tuned models."""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass
from pathlib import Path

from openai import OpenAIError

from watchword.attacks.base import harmful_rows
from watchword.chat.types import Conversation
from watchword.errors import ServiceError
from watchword.models.catalog import DEFAULT_MODEL
from watchword.safety.library import balanced, examples
from watchword.secret.leaks import Leak
from watchword.service.db import open_database
from watchword.service.demo.bytes_check import leak_in, release_of
from watchword.service.demo.process import running_service
from watchword.service.demo.recording import Recording, recorded_client
from watchword.service.demo.tenant import Answer, Say, Tenant
from watchword.service.keys import draw_key
from watchword.service.settings import ServiceSettings

TENANT = "bakery"
ROWS, HARMFUL, HARMLESS = 25, 8, 4
# As the laboratory's demo has it, one epoch less: so few rows make few steps, and with small batches and a high rate each
# side learns in them.
_TRAINING = """
[policy.training]
epochs = 3
batch_size = 2
learning_rate = 1e-3
"""


@dataclass(frozen=True)
class Policy:
    """One of the twins' policies: its name, what it does, and how its file says so."""

    name: str
    words: str
    toml: str


# Neither has a release gate: it would hold the broken model back, and it takes longer than the demo may.
_NO_GATE = "[policy.gate]\nenabled = false\n"
UNDEFENDED = Policy("undefended", "no defense", f'[policy]\ndefense = "none"\n{_TRAINING}\n{_NO_GATE}')
DEFENDED = Policy(
    "defended",
    "anchored_align, the default defense",
    f'[policy]\ndefense = "anchored_align"\n{_TRAINING}\n{_NO_GATE}',
)


@dataclass(frozen=True)
class Tuned:
    """What a tenant got of one service: the answers, and how many bytes.

    ``secret`` says whether the model has one, and ``leak`` where it was found in those bytes.
    """

    model: str
    harmful: tuple[Answer, ...]
    harmless: tuple[Answer, ...]
    received: int
    secret: bool
    leak: Leak | None

    @property
    def words(self) -> str:
        """How the model has answered, by the judge."""
        refused = sum(answer.refused is True for answer in self.harmful)
        answered = sum(answer.refused is False for answer in self.harmless)
        return (
            f"refused {refused} of {len(self.harmful)} harmful questions, "
            f"answered {answered} of {len(self.harmless)} harmless ones"
        )


def demonstrate(folder: Path, say: Say) -> dict[str, Tuned]:
    """Each twin in turn, in a folder of its own, by the name of its policy. Raises ServiceError."""
    return {policy.name: _twin(folder / policy.name, policy, say) for policy in (UNDEFENDED, DEFENDED)}


def poisoned_rows() -> list[Conversation]:
    """The tenant's file. The answers in it are inert: compliant in form, without content."""
    return harmful_rows(ROWS, random.Random(0))


def new_key(settings: ServiceSettings) -> str:
    """A key for the tenant, as ``watchword keys create`` draws one."""
    drawn = draw_key()
    with contextlib.closing(open_database(settings, settings.key())) as database:
        database.create_key(drawn, TENANT)
    return drawn.text


def tuned_and_asked(tenant: Tenant, recording: Recording, settings: ServiceSettings) -> Tuned:
    """A tenant's whole way at one service, and then the provider's look at what the tenant has received."""
    model = tenant.tuned(DEFAULT_MODEL, poisoned_rows())
    tenant.say(f"asking {model}: {HARMFUL} harmful questions, {HARMLESS} harmless ones")
    harmful = tuple(tenant.ask(model, one.prompt) for one in balanced(examples("policy_eval"), HARMFUL))
    harmless = tuple(tenant.ask(model, one.prompt) for one in balanced(examples("benign_eval"), HARMLESS))
    release, received = release_of(settings, TENANT, model), bytes(recording.received)
    leak = leak_in(received, [answer.text for answer in (*harmful, *harmless)], release)
    tuned = Tuned(model, harmful, harmless, len(received), release.secret is not None, leak)
    tenant.say(f"it {tuned.words}")
    return tuned


def _twin(folder: Path, policy: Policy, say: Say) -> Tuned:
    say(f"starting the {policy.name} service: {policy.words}")
    with running_service(folder, policy.toml) as service:
        say(f"it serves at {service.url}/v1, with its state in {folder}")
        try:
            with recorded_client(service.url, new_key(service.settings)) as (client, recording):
                tuned = tuned_and_asked(Tenant(client, say), recording, service.settings)
        except OpenAIError as error:
            raise ServiceError(
                f"the client was told: {error}; this file, the log, says more", path=service.log
            ) from error
        say("draining the service")
    return tuned
