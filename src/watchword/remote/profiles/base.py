"""What every profile is: an API's address, hyperparameters and limits, and what it does with our file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from watchword.errors import DataError, UsageError
from watchword.registry import Registry, did_you_mean
from watchword.remote.jobs import OpenAIJobs
from watchword.remote.types import RemoteJobs
from watchword.secret.prompt import SecretPrompt

if TYPE_CHECKING:
    from openai import OpenAI

MEBIBYTE, GIBIBYTE = 1 << 20, 1 << 30


@dataclass(frozen=True)
class Bounds:
    """A number that a hyperparameter may be, ends included; ``auto`` is left to the API where ``may_be_auto``."""

    least: float
    most: float = math.inf
    whole: bool = True
    may_be_auto: bool = True

    @property
    def words(self) -> str:
        """The bounds for a message."""
        kind = "a whole number" if self.whole else "a number"
        most = "" if self.most == math.inf else f" to {self.most:g}"
        return f"{kind} from {self.least:g}{most}{', or auto' if self.may_be_auto else ''}"

    def holds(self, value: object) -> bool:
        """Whether a value is within."""
        if value == "auto":
            return self.may_be_auto
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return self.least <= value <= self.most and not (self.whole and value != int(value))


EPOCHS, BATCH_SIZE = Bounds(1, 50), Bounds(1, 256)
MULTIPLIER = Bounds(1e-6, 10_000, whole=False)


class Profile:
    """One file in this package is one API.

    ``url`` stands before ``/files`` and ``/fine_tuning/jobs``; None where every customer has another one. ``chat_url`` is
    where a tuned model is asked, if elsewhere. ``key_env`` names the environment variable with the key. ``exporter`` is the
    trainer for which files are guarded (``guarding.exporters``). ``hyperparameters`` may be set, ``fixed`` are ours: the
    defense needs them. ``epochs`` are assumed for the estimate where the API chooses. ``retention`` says what it keeps.
    """

    title: ClassVar[str] = ""
    url: ClassVar[str | None] = None
    url_example: ClassVar[str] = ""
    chat_url: ClassVar[str | None] = None
    key_env: ClassVar[str] = ""
    exporter: ClassVar[str] = "openai"
    hyperparameters: ClassVar[Mapping[str, Bounds]] = {
        "n_epochs": EPOCHS,
        "batch_size": BATCH_SIZE,
        "learning_rate_multiplier": MULTIPLIER,
    }
    fixed: ClassVar[Mapping[str, Any]] = {}
    epochs: ClassVar[int] = 3
    least_rows: ClassVar[int] = 10
    most_bytes: ClassVar[int] = 512 * MEBIBYTE
    metadata: ClassVar[bool] = True
    in_method: ClassVar[bool] = True
    takes_suffix: ClassVar[bool] = True
    retention: ClassVar[str] = ""

    def address(self, given: str | None) -> str:
        """The API's base URL. Raises UsageError where only its customer knows it, and for one that holds a password."""
        url = given or self.url
        if not url:
            raise UsageError(
                f"{self.title} has another address for every customer; give yours by `base_url`, such as {self.url_example}",
                param="base_url",
            )
        if "@" in url.partition("://")[2].partition("/")[0] or "?" in url or "#" in url:
            raise UsageError(
                "`base_url` holds a password or a query, and it is shown, logged and written into the release; give the "
                "address alone, and the key in the variable that `key_env` names",
                param="base_url",
            )
        if not url.startswith(("https://", "http://")):
            raise UsageError(f"`base_url` is {url}; it must begin with https:// or http://", param="base_url")
        return url.rstrip("/")

    def chat_address(self, url: str) -> str:
        """What stands before ``/chat/completions``, for an API at ``url``."""
        return self.chat_url if self.chat_url is not None and url == self.url else url

    def jobs(self, client: OpenAI, secret: SecretPrompt | None) -> RemoteJobs:
        """The API's files and jobs."""
        return OpenAIJobs(client, secret, metadata=self.metadata, in_method=self.in_method)

    def chosen(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The hyperparameters of a job. Raises UsageError for one that there is not, or that is out of bounds."""
        for name, value in given.items():
            bounds = self.hyperparameters.get(name)
            if bounds is None:
                known = ", ".join(self.hyperparameters)
                raise UsageError(
                    f"{self.title} has no hyperparameter {name!r} that may be set: "
                    f"{did_you_mean(name, self.hyperparameters)}choose of {known}",
                    param="hyperparameter",
                )
            if not bounds.holds(value):
                raise UsageError(f"{name} is {value!r}; {self.title} takes {bounds.words}", param="hyperparameter")
        return {**given, **self.fixed}

    def check_suffix(self, suffix: str | None) -> None:
        """Raises UsageError for a suffix where the API takes none."""
        if suffix is not None and not self.takes_suffix:
            raise UsageError(f"{self.title} takes no suffix for the tuned model's name; leave it out", param="suffix")

    def check_file(self, rows: int, size: int, label: str) -> None:
        """The API's rules for a file, before it is uploaded. Raises DataError."""
        if rows < self.least_rows:
            raise DataError(
                f"the guarded file has {rows} rows, and {self.title} takes {self.least_rows} at least; give more rows",
                path=label,
            )
        if size > self.most_bytes:
            raise DataError(
                f"the guarded file has {size / MEBIBYTE:.0f} MiB, and {self.title} takes {self.most_bytes // MEBIBYTE} MiB at "
                "most; give fewer rows",
                path=label,
            )


PROFILES: Registry[Profile] = Registry("profile", Profile, "watchword.remote.profiles")
