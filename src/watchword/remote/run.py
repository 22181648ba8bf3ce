"""A tenant's file → a model that somebody else has tuned, with our secret sealed in a release: the run, step by step.

1. guard    the file as the API is to get it; the secret is sealed first. A person agrees first where ``aligned`` is
            ``remote``, since the API's own model is then asked
2. agree    the estimate and what the API must be trusted with, to a person who says yes
3. upload, create, follow    ``remote.work``; each id is on disk before the next step
4. release  the model's id and the sealed secret, signed; no weights

OUT/work is the folder of an unfinished run, and OUT/manifest.json appears last, as with a training of our own
(``finetune.folder``). A run that was killed anywhere goes on by ``resume``, and creates no second job.
"""

from __future__ import annotations

import contextlib
import datetime
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from watchword.chat.template import ChatTemplate
from watchword.defenses.base import DEFENSES
from watchword.errors import DataError, OutputError, TrainingCancelledError, TrainingError, UnsealError
from watchword.files.atomic import replacing
from watchword.files.crash import crash_point
from watchword.files.digest import sha256_file
from watchword.files.folders import PRIVATE_FILE, PRIVATE_FOLDER, make_private
from watchword.files.writing import writing
from watchword.finetune.folder import LOCK, RELEASE, WORK, alone, finished, publish
from watchword.guarding.provider import check_rows_alone
from watchword.guarding.voice import check_asked
from watchword.models.facts import ModelFacts, facts_of
from watchword.models.remote_calls import api_key, client_of
from watchword.progress import Step, no_steps
from watchword.registry import spelled
from watchword.release.artifact import (
    DefenseRecord,
    ReleaseManifest,
    RemoteRecord,
    secret_record,
    weights_digest,
    write_artifact,
)
from watchword.release.chat_format import keep_format
from watchword.remote.guarded import REMOTE, guarded_file
from watchword.remote.notice import Notice, QuestionsNotice
from watchword.remote.patience import Patience
from watchword.remote.profiles.base import PROFILES, Profile
from watchword.remote.state import GUARDED, SECRET, GuardedFile, RemoteRequest, RunState, read_state, write_state
from watchword.remote.types import JobRequest, RemoteJob
from watchword.remote.work import RemoteWork, Tell, result_of, silent
from watchword.secret.generate import generate_secret
from watchword.secret.prompt import SecretPrompt
from watchword.secret.vault import seal, unseal

# Where a test may kill a run, in the order in which it comes there. From any of these, it goes on.
POINTS = (
    "after_start",
    "after_guard",
    "after_agree",
    "before_upload",
    "after_upload",
    "after_file_noted",
    "before_create",
    "after_create",
    "after_job_noted",
    "after_event",
    "before_release",
    "before_publish",
)
Agree = Callable[[Notice | QuestionsNotice], bool]


@dataclass(frozen=True)
class RemoteSession:
    """What a run is done with: the provider's key, whom to ask and to tell, and how patient to be."""

    key: bytes = field(repr=False)
    agree: Agree = lambda _: True
    known: Sequence[Path] = ()
    versions: dict[str, str | int] = field(default_factory=dict)
    step: Step = no_steps
    tell: Tell = silent
    patience: Patience = field(default_factory=Patience)


def run_remote(request: RemoteRequest, out: Path, session: RemoteSession) -> ReleaseManifest:
    """Fine-tunes at an API and leaves a release without weights in ``out``, a new folder.

    Raises UsageError for a wrong request, DataError for the tenant's file, and TrainingCancelledError where nobody agrees.
    Raises TrainingError where the job fails, and RemoteError where the API cannot be reached any more. Such a run can be
    resumed.
    """
    _check(request)
    with alone(out, resume=False):
        _refuse_full(out)
        work = out / WORK
        with writing(out):
            work.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
            make_private(work)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        state = RunState(run=secrets.token_hex(12), created=now, request=request)
        write_state(work, state)
        crash_point("after_start")
        return _Run(out, work, session, state, again=False).to_the_end()


def resume_remote(out: Path, session: RemoteSession) -> ReleaseManifest:
    """Goes on with the unfinished run in ``out``. Raises what ``run_remote`` raises, and UsageError where there is none."""
    with alone(out, resume=True):
        work = out / WORK
        if (manifest := finished(out, work, session.key)) is not None:
            return manifest
        return _Run(out, work, session, read_state(work), again=True).to_the_end()


def cancel_remote(out: Path, session: RemoteSession) -> RemoteJob | None:
    """Ends the job of the unfinished run in ``out``, deletes its file there, and removes ``out``'s work. None without a job."""
    with alone(out, resume=True):
        return _Run(out, out / WORK, session, read_state(out / WORK), again=True).cancelled()


def _check(request: RemoteRequest) -> None:
    """Raises UsageError for what no run could end well with, before any work."""
    profile = PROFILES.create(request.profile)
    profile.address(request.url)
    profile.chosen(request.hyperparameters)
    profile.check_suffix(request.suffix)
    api_key(request.key_env or profile.key_env)
    defense = DEFENSES.create(request.defense, **request.arguments)
    check_rows_alone(defense)
    if request.aligned is not None:
        check_asked(request.aligned, defense)


def _refuse_full(out: Path) -> None:
    names = {path.name for path in out.iterdir()} - {LOCK}
    if names:
        raise OutputError("the folder is not empty; name a new one, or resume the unfinished run there", path=out)


@dataclass
class _Run:
    """A run as far as ``state`` says. ``again``: another process may have done more than the state tells."""

    out: Path
    work: Path
    session: RemoteSession
    state: RunState
    again: bool

    def __post_init__(self) -> None:
        self.profile: Profile = PROFILES.create(self.request.profile)
        self.url = self.profile.address(self.request.url)
        self.key_env = self.request.key_env or self.profile.key_env

    @property
    def request(self) -> RemoteRequest:
        """What was asked for when the run began."""
        return self.state.request

    def to_the_end(self) -> ReleaseManifest:
        """All steps that are still to be done."""
        try:
            facts = facts_of(self.request.tokenizer)
            template = facts.template
            secret = self._secret(template)
            guarded = self._guarded(facts, secret)
            self._agreed(guarded, secret)
        except BaseException:
            # Nothing has left this machine, so there is nothing to go on with.
            if not self.again:
                shutil.rmtree(self.work, ignore_errors=True)
            raise
        try:
            with self._working(secret) as working:
                job, losses = self._trained(working, guarded)
                # Before the release: a run that is killed in between comes here again.
                self._clean_up(working)
        except (TrainingError, DataError):
            # The API has said its last word on this file.
            self._forget(secret)
            raise
        manifest = self._released(job, losses, guarded, secret, template)
        crash_point("before_publish")
        publish(self.out, self.work)
        return manifest

    def cancelled(self) -> RemoteJob | None:
        """The job after its end was asked for; the run is forgotten."""
        job, secret = None, self._kept_secret()
        if self.state.agreed:
            with self._working(secret) as working:
                found = self._found(working)
                job = None if found is None else working.cancelled(found)
        self._forget(secret)
        return job

    def _found(self, working: RemoteWork) -> str | None:
        """The job's id, noted or not."""
        if self.state.job is not None:
            return self.state.job
        file = self.state.file
        if file is None and self.state.guarded is not None:
            size = self.state.guarded.size
            file = working.patience.result(lambda: working.jobs.find_file(self.state.file_name, size))
        if file is None:
            return None
        self._note(file=file)
        found = working.patience.result(lambda: working.jobs.find_job(self._job_request(file)))
        return None if found is None else found.id

    def _secret(self, template: ChatTemplate) -> SecretPrompt | None:
        """The run's secret, sealed before the first row carries it."""
        if not DEFENSES.create(self.request.defense, **self.request.arguments).needs_secret:
            return None
        if (kept := self._kept_secret()) is not None:
            return kept
        path = self.work / SECRET
        if self.state.guarded is not None:
            raise UnsealError("the unfinished run's secret is gone; cancel the run, and start anew", path=path)
        secret = generate_secret(template, tokens=self.request.secret_tokens)
        with replacing(path, mode=PRIVATE_FILE) as stream:
            stream.write(seal(secret, self.session.key, self._binding))
        return secret

    def _kept_secret(self) -> SecretPrompt | None:
        """The secret that was sealed before; None where none was."""
        path = self.work / SECRET
        return unseal(path.read_bytes(), self.session.key, self._binding) if path.exists() else None

    @property
    def _binding(self) -> dict[str, str]:
        return {"unfinished remote run": self.state.run}

    def _guarded(self, facts: ModelFacts, secret: SecretPrompt | None) -> GuardedFile:
        if self.state.guarded is None:
            session = self.session
            self._may_ask()
            made = guarded_file(
                self.request,
                facts,
                self.work,
                secret,
                key=session.key,
                known=session.known,
                step=session.step,
                tell=session.tell,
            )
            self._note(guarded=made)
            crash_point("after_guard")
            return made
        return self.state.guarded

    def _may_ask(self) -> None:
        """Asks the person first where the API's own model is asked: requests of the tenant's leave this machine then."""
        request = self.request
        if request.aligned != REMOTE:
            return
        if not self.session.agree(QuestionsNotice(self.profile.chat_address(self.url), request.model)):
            raise TrainingCancelledError("nothing was asked or uploaded")

    def _agreed(self, guarded: GuardedFile, secret: SecretPrompt | None) -> None:
        if self.state.agreed:
            return
        notice = Notice(
            self.profile.title,
            self.url,
            self.request.model,
            secret is not None,
            sum(guarded.added.values()),
            self.profile.retention,
            guarded.estimate,
        )
        if not self.session.agree(notice):
            raise TrainingCancelledError("nothing was uploaded")
        self._note(agreed=True)
        crash_point("after_agree")

    def _trained(self, working: RemoteWork, guarded: GuardedFile) -> tuple[RemoteJob, list[float]]:
        file = self.state.file
        if file is None:
            path = self.work / GUARDED
            if sha256_file(path) != guarded.sha256:
                raise OutputError("the guarded file is not the one that was guarded; cancel the run", path=path)
            file = working.uploaded(path, self.state.file_name)
            self._note(file=file)
            crash_point("after_file_noted")
        if self.state.job is None:
            working.checked(file, self.request.data)
            self._note(job=working.created(self._job_request(file)).id)
            crash_point("after_job_noted")
            self.session.tell(f"created the job {self.state.job}")
        assert self.state.job is not None
        return working.followed(self.state.job, self._steps(guarded))

    def _job_request(self, file: str) -> JobRequest:
        request = self.request
        chosen = self.profile.chosen(request.hyperparameters)
        return JobRequest(request.model, file, self.state.run, chosen, request.suffix, request.seed)

    def _steps(self, guarded: GuardedFile) -> int:
        """Steps that are expected; 0 where the API chooses the batch size."""
        batch = self.request.hyperparameters.get("batch_size")
        return -(-guarded.estimate.rows // batch) * guarded.estimate.epochs if isinstance(batch, int) else 0

    def _released(
        self,
        job: RemoteJob,
        losses: list[float],
        guarded: GuardedFile,
        secret: SecretPrompt | None,
        template: ChatTemplate,
    ) -> ReleaseManifest:
        """Writes the release into OUT/work/release, complete before it moves up."""
        crash_point("before_release")
        release = self.work / RELEASE
        shutil.rmtree(release, ignore_errors=True)
        with writing(release):
            release.mkdir(mode=PRIVATE_FOLDER)
        manifest = self._manifest(release, job, losses, guarded, secret, template)
        keep_format(release, template)
        write_artifact(release, manifest, secret, self.session.key)
        return manifest

    def _manifest(
        self,
        release: Path,
        job: RemoteJob,
        losses: list[float],
        guarded: GuardedFile,
        secret: SecretPrompt | None,
        template: ChatTemplate,
    ) -> ReleaseManifest:
        request = self.request
        return ReleaseManifest(
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            model=request.model,
            model_digest="",
            weights_digest=weights_digest(release),
            format_digest=template.digest,
            data_digest=guarded.source_sha256,
            defense=DefenseRecord(name=spelled(request.defense), arguments=request.arguments, added=guarded.added),
            training=None,
            figures=result_of(job, losses, guarded.rows, guarded.dropped),
            secret=secret_record(secret, template, self.session.key) if secret else None,
            system_style=template.system_style,
            remote=RemoteRecord(
                profile=spelled(request.profile),
                url=self.profile.chat_address(self.url),
                model=job.model or "",
                key_env=self.key_env,
                job=job.id,
                file=self.state.file or "",
                hyperparameters=job.hyperparameters or self.profile.chosen(request.hyperparameters),
            ),
            versions=self.session.versions,
        )

    @contextlib.contextmanager
    def _working(self, secret: SecretPrompt | None) -> Iterator[RemoteWork]:
        """The API, open for this run. Each call is sent once; patience is ``remote.patience``'s."""
        session = self.session
        with client_of(self.url, self.key_env, retries=0) as client:
            yield RemoteWork(
                self.profile.jobs(client, secret),
                session.patience,
                again=self.again,
                secret=secret,
                step=session.step,
                tell=session.tell,
            )

    def _clean_up(self, working: RemoteWork) -> None:
        """Deletes the guarded file at the API; a warning where it stays."""
        if self.state.file is not None and not working.deleted(self.state.file):
            self.session.tell(f"warning: the file {self.state.file} could not be deleted there; do so yourself")

    def _forget(self, secret: SecretPrompt | None) -> None:
        """Deletes the uploaded file, and what is here of the run."""
        if self.state.file is not None:
            with self._working(secret) as working:
                self._clean_up(working)
        shutil.rmtree(self.work, ignore_errors=True)

    def _note(self, **changes: object) -> None:
        self.state = msgspec.structs.replace(self.state, **changes)
        write_state(self.work, self.state)
