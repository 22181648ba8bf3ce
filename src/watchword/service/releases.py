"""How a tuned model goes for good."""

from __future__ import annotations

import shutil

from watchword.files.addresses import Address
from watchword.service.settings import ServiceSettings
from watchword.service.types import TunedModel
from watchword.service.worker.publishing import retract


def remove_release(model: TunedModel) -> None:
    """Removes a model's weights and its sealed secret."""
    retract(Address.parse(model.location))


def remove_adapter(settings: ServiceSettings, name: str) -> None:
    """Removes the copy of the weights that the engine was given under this name; no other model may have the same."""
    shutil.rmtree(settings.adapters / name, ignore_errors=True)
