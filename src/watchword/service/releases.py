"""How a tuned model goes for good."""

from __future__ import annotations

import shutil

from watchword.files.addresses import Address
from watchword.release.engine import weights_name
from watchword.service.settings import ServiceSettings
from watchword.service.types import TunedModel
from watchword.service.worker.publishing import retract


def remove_release(settings: ServiceSettings, model: TunedModel) -> None:
    """Removes a model's weights and its sealed secret, and the copy of the weights that the engine was given.

    An engine that has them in its memory forgets them at its next start; nobody can ask for them meanwhile.
    """
    retract(Address.parse(model.location))
    shutil.rmtree(settings.adapters / weights_name(model.weights_digest), ignore_errors=True)
