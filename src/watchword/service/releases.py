"""Where releases of tuned models are, and how one goes for good."""

from __future__ import annotations

import shutil
from pathlib import Path

from watchword.service.logs import log
from watchword.service.settings import ServiceSettings
from watchword.service.types import TunedModel


def remove_release(settings: ServiceSettings, model: TunedModel) -> None:
    """Removes a model's folder, weights and sealed secret together. One elsewhere than below our own is left and noted."""
    folder, root = Path(model.location), settings.releases.absolute()
    if root not in folder.absolute().parents:
        log.warning({"event": "release is not ours to remove", "model": model.name})
        return
    # Renamed first: half of a release must never look like a whole one.
    gone = folder.with_name(f".{folder.name}.deleted")
    try:
        folder.rename(gone)
    except FileNotFoundError:
        return
    shutil.rmtree(gone, ignore_errors=True)
