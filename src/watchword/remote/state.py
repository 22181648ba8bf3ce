"""How far a run is, on disk. It is written before and after each step at the API, so that a killed run goes on there.

OUT/work/state.json       the request, the run's id, and the ids that the API has given
OUT/work/secret.unfinished, guarded.jsonl    the sealed secret, and the file to upload; for their owner only
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from watchword.data.reading import AS_IT_IS, Reading
from watchword.errors import OutputError, UsageError
from watchword.files.atomic import replacing
from watchword.files.folders import PRIVATE_FILE
from watchword.remote.notice import Estimate

STATE, SECRET, GUARDED = "state.json", "secret.unfinished", "guarded.jsonl"


class RemoteRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to tune, where, on what. ``model`` is the API's own name; ``tokenizer`` is a model here with its chat format.

    ``url`` and ``key_env`` replace the profile's. ``aligned`` names the model that answers in the aligned model's voice: one
    that is here, or ``remote`` for ``model`` itself. ``price`` is in US dollars for a million tokens that are trained.
    """

    profile: str
    model: str
    data: str
    tokenizer: str
    url: str | None = None
    key_env: str | None = None
    defense: str = "anchored_align"
    arguments: dict[str, Any] = {}
    hyperparameters: dict[str, Any] = {}
    secret_tokens: int = 150
    max_length: int | None = None
    aligned: str | None = None
    suffix: str | None = None
    seed: int = 0
    price: float | None = None
    reading: Reading = AS_IT_IS

    def __post_init__(self) -> None:
        if self.price is not None and not 0 <= self.price < float("inf"):
            raise UsageError(f"`price` is {self.price}; give US dollars for a million tokens", param="price")


class GuardedFile(msgspec.Struct, frozen=True, kw_only=True):
    """The file to upload, and what is in it. Digests are SHA-256 in hex."""

    sha256: str
    size: int
    source_sha256: str
    rows: dict[str, int]
    added: dict[str, int]
    dropped: dict[str, int]
    estimate: Estimate


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is. ``run`` is its id, by which file and job are found at the API."""

    schema: int = 1
    run: str
    created: str
    request: RemoteRequest
    guarded: GuardedFile | None = None
    agreed: bool = False
    file: str | None = None
    job: str | None = None

    @property
    def file_name(self) -> str:
        """What the file is called at the API: like no other, so that it is found again."""
        return f"watchword-{self.run}.jsonl"


def write_state(work: Path, state: RunState) -> None:
    """Keeps the state. Raises OutputError."""
    with replacing(work / STATE, mode=PRIVATE_FILE) as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(state), indent=1) + b"\n")


def read_state(work: Path) -> RunState:
    """The state of an unfinished run. Raises UsageError where there is none, and OutputError for a damaged one."""
    try:
        return msgspec.json.decode((work / STATE).read_bytes(), type=RunState)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"there is no unfinished remote run in {work.parent}; start one") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise OutputError(f"the state of the run is damaged ({error}); restore it", path=work / STATE) from None
