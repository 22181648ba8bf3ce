"""Together AI: files that are put to an address of their own, and jobs at ``/fine-tunes``.

A file is asked for by its checksum, so the same file is never there twice. No job carries metadata; the id of its file
tells whose it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from watchword.models.remote_calls import RefusedCallError, fields_of, told
from watchword.remote.jobs import stage_of
from watchword.remote.profiles.base import EPOCHS, GIBIBYTE, Bounds, Profile
from watchword.remote.types import JobRequest, RemoteEvent, RemoteFile, RemoteJob, RemoteJobs, Stage
from watchword.secret.prompt import SecretPrompt

if TYPE_CHECKING:
    from openai import OpenAI

_STAGES = {
    "pending": Stage.WAITING,
    "queued": Stage.WAITING,
    "running": Stage.RUNNING,
    "compressing": Stage.RUNNING,
    "uploading": Stage.RUNNING,
    "cancel_requested": Stage.RUNNING,
    "cancelled": Stage.CANCELLED,
    "error": Stage.FAILED,
    "completed": Stage.SUCCEEDED,
}
_FILES = {"COMPLETED": True, "FAILED": False, "INVALID_FORMAT": False, None: True}
_LORA = ("lora_r", "lora_alpha", "lora_dropout")
_FINE = Bounds(0, 1, whole=False, may_be_auto=False)


class TogetherProfile(Profile):
    title = "Together"
    url = "https://api.together.xyz/v1"
    key_env = "TOGETHER_API_KEY"
    exporter = "together"
    hyperparameters: ClassVar[Mapping[str, Bounds]] = {
        "n_epochs": EPOCHS,
        "batch_size": Bounds(1, 1024, may_be_auto=False),
        "learning_rate": _FINE,
        "warmup_ratio": _FINE,
        "weight_decay": _FINE,
        "lora_r": Bounds(1, 128, may_be_auto=False),
        "lora_alpha": Bounds(1, 256, may_be_auto=False),
        "lora_dropout": _FINE,
    }
    epochs = 1
    least_rows = 1
    most_bytes = 25 * GIBIBYTE
    metadata = False
    retention = "Together keeps an uploaded file until it is deleted."

    def jobs(self, client: OpenAI, secret: SecretPrompt | None) -> RemoteJobs:
        """At routes of its own."""
        return TogetherJobs(client, secret)


class TogetherJobs:
    """See ``remote.types.RemoteJobs`` for every call. ``http`` makes the client for the file's own address."""

    def __init__(self, client: OpenAI, secret: SecretPrompt | None, http: Callable[[], Any] | None = None) -> None:
        self._client, self._secret, self._http = client, secret, http or _plain_http

    def upload(self, path: Path, name: str) -> str:
        """Asks where to put the file, puts it there, and says so. The address is no place for our key."""
        place, file = self._place(path, name)
        self._put(path, place)
        with told(self._secret):
            self._client.post(f"/files/{file}/preprocess", cast_to=object)
        return file

    def _put(self, path: Path, place: str) -> None:
        import httpx2

        try:
            with self._http() as http, path.open("rb") as stream:
                put = http.put(place, content=stream, headers={"content-length": str(path.stat().st_size)})
        except httpx2.HTTPError as error:
            raise RefusedCallError(f"the file's own address gave no answer: {error}", status=None, again=True) from None
        if put.status_code != 200:
            raise RefusedCallError(
                f"the file's own address answered with {put.status_code}", status=put.status_code, again=True
            )

    def find_file(self, name: str, size: int) -> str | None:
        """One that was asked for and never put has no size yet."""
        for one in self._listed("/files"):
            if one.get("filename") == name and one.get("bytes") == size:
                return str(one["id"])
        return None

    def file(self, file: str) -> RemoteFile:
        """As the API's check of it has it."""
        state = self._get(f"/files/{file}").get("processing_status")
        ready = _FILES.get(state)
        return RemoteFile(file, ready, f"its check ended as {state}" if ready is False else "")

    def delete_file(self, file: str) -> None:
        """Removes it."""
        with told(self._secret):
            self._client.delete(f"/files/{file}", cast_to=object)

    def create(self, request: JobRequest) -> RemoteJob:
        """LoRA, on the answers only, each row by itself: a row must see its own secret and no other row."""
        given = {name: value for name, value in request.hyperparameters.items() if value != "auto"}
        lora = {name: given.pop(name) for name in _LORA if name in given}
        body = {
            "n_checkpoints": 1,
            **given,
            "model": request.model,
            "training_file": request.file,
            "training_type": {"type": "Lora", **lora},
            "training_method": {"method": "sft", "train_on_inputs": False},
            "packing": False,
        }
        with told(self._secret):
            made: Any = self._client.post("/fine-tunes", cast_to=object, body=_suffixed(body, request))
        return job_of(made)

    def find_job(self, request: JobRequest) -> RemoteJob | None:
        """By its file."""
        found = (one for one in self._listed("/fine-tunes") if one.get("training_file") == request.file)
        return next(map(job_of, found), None)

    def job(self, job: str) -> RemoteJob:
        """As it is now."""
        return job_of(self._get(f"/fine-tunes/{job}"))

    def events(self, job: str, seen: Set[str]) -> list[RemoteEvent]:
        """They have no ids; when and what makes one."""
        listed = self._listed(f"/fine-tunes/{job}/events")
        events = [
            RemoteEvent(
                f"{one.get('created_at')} {one.get('type')} {one.get('message')}",
                str(one.get("message", "")),
                one.get("step") or None,
                one.get("total_steps") or None,
            )
            for one in sorted(listed, key=lambda one: str(one.get("created_at", "")))
        ]
        return [event for event in events if event.id not in seen]

    def cancel(self, job: str) -> RemoteJob:
        """Asks for its end."""
        with told(self._secret):
            return job_of(self._client.post(f"/fine-tunes/{job}/cancel", cast_to=object))

    def _place(self, path: Path, name: str) -> tuple[str, str]:
        """Where the file goes, and its id. An answer that leads elsewhere is what is wanted here."""
        from openai import APIStatusError

        with path.open("rb") as stream:
            checksum = hashlib.file_digest(stream, "sha256").hexdigest()
        fields = {"purpose": "fine-tune", "file_name": name, "file_type": "jsonl", "checksum": checksum}
        with told(self._secret):
            try:
                self._client.post(
                    "/files",
                    cast_to=object,
                    body=fields,
                    options={"headers": {"Content-Type": "multipart/form-data"}, "follow_redirects": False},
                )
            except APIStatusError as error:
                if error.status_code != 302:
                    raise
                headers = error.response.headers
                place, file = headers.get("location", ""), headers.get("x-together-file-id", "")
                if place.startswith("https://") and file:
                    return place, file
        raise RefusedCallError("the API named no address for the file", status=None, again=False)

    def _get(self, route: str) -> dict[str, Any]:
        with told(self._secret):
            found: Any = self._client.get(route, cast_to=object)
        return fields_of(found)

    def _listed(self, route: str) -> list[dict[str, Any]]:
        found = self._get(route).get("data")
        if not isinstance(found, list):
            # To take it for an empty list would create a job twice.
            raise RefusedCallError(f"the API listed nothing at {route}", status=None, again=True)
        return found


def job_of(job: Any) -> RemoteJob:
    """A job of Together's. Raises RefusedCallError for a status that nobody knows."""
    status = str(job.get("status"))
    stage = stage_of(status, _STAGES)
    events = job.get("events") or []
    known = ("n_epochs", "batch_size", "learning_rate", "warmup_ratio", "weight_decay", "training_type")
    return RemoteJob(
        id=str(job["id"]),
        stage=stage,
        status=status,
        model=job.get("model_output_name") or job.get("output_name"),
        problem=str(events[-1].get("message", "")) if events and stage is Stage.FAILED else "",
        trained_tokens=job.get("token_count"),
        hyperparameters={name: job[name] for name in known if job.get(name) is not None},
    )


def _suffixed(body: dict[str, Any], request: JobRequest) -> dict[str, Any]:
    more = {"suffix": request.suffix, "random_seed": request.seed}
    return body | {name: value for name, value in more.items() if value is not None}


def _plain_http() -> Any:
    import httpx2

    return httpx2.Client(timeout=600)
