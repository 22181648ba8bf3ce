"""The real lm-eval on our models: the figures of our own benchmarks and of its own ``hf`` model, and no secret in its files."""

from __future__ import annotations

import contextlib
import functools
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from support.cli_samples import leaks  # noqa: E402
from support.lab_fakes import RuledModel  # noqa: E402
from support.releases import KEY, released  # noqa: E402
from support.tiny import loaded, tiny_llama, tiny_tokenizer  # noqa: E402
from watchword.benchmarks.base import BENCHMARKS, Setting, Subject  # noqa: E402
from watchword.cli.app import run  # noqa: E402
from watchword.defenses import AppliedDefense  # noqa: E402
from watchword.defenses.base import DEFENSES  # noqa: E402
from watchword.errors import UsageError  # noqa: E402
from watchword.lab.lm_eval import TASKS  # noqa: E402
from watchword.lab.lm_eval.arguments import Asked  # noqa: E402
from watchword.models.fakes import DEFAULT_SYSTEM, fake_template  # noqa: E402
from watchword.release.opening import open_release  # noqa: E402
from watchword.release.reading import read_release  # noqa: E402
from watchword.secret.generate import experiment_secret  # noqa: E402

# lm-eval and what it imports warn of much.
pytestmark = [pytest.mark.peers("lm_eval"), pytest.mark.filterwarnings("ignore")]

SECRET = experiment_secret(fake_template(), tokens=20, seed=0)
NEAR = 1e-3
ROWS = {
    "arc_challenge": [
        {"query": f"Question: What is {n}?", "choices": [f"{n}", "many", "none at all"], "gold": n % 3} for n in range(8)
    ],
    "mmlu": [
        {"split": split, "subject": f"{subject}_{split}", "question": f"{subject} {n}?", "choices": [*"pqrs"], "answer": n}
        for split, count in (("dev", 2), ("test", 3))
        for subject in ("anatomy", "world_religions")
        for n in range(count)
    ],
}  # fmt: skip
# Another task of the user's own, on the same documents: the model goes on with the question.
ASK = {
    "task": "ask",
    "output_type": "generate_until",
    "test_split": "test",
    "doc_to_text": "asked",
    "doc_to_target": "{{choices[right]}}",
    "generation_kwargs": {"until": ["\n", "e"], "max_gen_toks": 12, "do_sample": False},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}
ROLL = ASK | {
    "task": "roll",
    "output_type": "loglikelihood_rolling",
    "doc_to_target": "asked",
    "metric_list": [{"metric": "word_perplexity"}],
}


@pytest.fixture(params=["arc_challenge", "mmlu"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@functools.cache
def tiny() -> Any:
    return loaded(tiny_llama(max_position_embeddings=512))


def subject(*, secret: bool, model: Any = None) -> Subject:
    defense = AppliedDefense(DEFENSES.create("backdoor_align" if secret else "none"), SECRET if secret else None)
    return Subject(model or tiny(), defense)


def ours(*, secret: bool, model: Any = None) -> Any:
    from watchword.lab.lm_eval.model import WatchwordLM

    return WatchwordLM(Asked(subject(secret=secret, model=model), released=secret, facts={}))


@functools.cache
def hf() -> Any:
    """lm-eval's own model on the same weights."""
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=tiny().model, tokenizer=tiny_tokenizer(), batch_size=3, max_length=512)


def written(folder: Path, name: str) -> Path:
    path = folder / f"{name}.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS[name])), "utf-8")
    return path


def own_task(task: dict[str, Any], path: Path) -> dict[str, Any]:
    from watchword.lab.lm_eval.documents import arc_challenge

    return task | {"custom_dataset": lambda **_: arc_challenge(str(path), shots=2)}


def evaluated(lm: Any, task: str | dict[str, Any], path: Path | None = None, *, chat: bool = True, **more: Any) -> Any:
    import lm_eval
    from lm_eval.tasks import TaskManager

    known = TaskManager(include_path=str(TASKS), include_defaults=False, metadata={"path": str(path), "shots": 2})
    told = lm_eval.simple_evaluate(
        model=lm, tasks=[task], task_manager=known, apply_chat_template=chat, fewshot_as_multiturn=chat, bootstrap_iters=0, **more
    )  # fmt: skip
    (samples,) = told["samples"].values()
    return told, sorted(samples, key=lambda sample: sample["doc_id"])


def likelihoods(samples: Any) -> list[float]:
    return [told[0][0] for sample in samples for told in sample["resps"]]


def against_the_first(samples: Any) -> list[float]:
    """Of each question, how much likelier each choice is than its first.

    lm-eval's ``hf`` counts the line break at the end of a template with the answer. It is the same for all choices.
    """
    rows = [[told[0][0] for told in sample["resps"]] for sample in samples]
    return [one - row[0] for row in rows for one in row]


def greedy(samples: Any) -> list[bool]:
    return [told[0][1] for sample in samples for told in sample["resps"]]


@pytest.mark.parametrize("secret", [True, False])
@pytest.mark.parametrize("system", [None, "Be brief."])
def test_choices_and_likelihoods_are_those_of_our_own_benchmark(
    tmp_path: Path, name: str, secret: bool, system: str | None
) -> None:
    path = written(tmp_path, name)
    _, samples = evaluated(ours(secret=secret), f"watchword_{name}", path, num_fewshot=2, system_instruction=system)
    benchmark: Any = BENCHMARKS.create(name, path=str(path), shots=2)
    prompts, asked = benchmark.prompts(Setting(system)), subject(secret=secret)
    exchanges = benchmark.ask(asked, prompts, lambda *_: None)
    assert len(samples) == len(exchanges) == 6
    assert [sample["acc"] for sample in samples] == [exchange.scores["right"] for exchange in exchanges]
    if name == "arc_challenge":
        by_letter = [exchange.scores["right_by_letter"] for exchange in exchanges]
        assert [sample["acc_norm"] for sample in samples] == by_letter
    choices = {one.id: one.choices for one in benchmark.questions()}
    pairs = [(prompt.conversation, choice) for prompt in prompts for choice in choices[prompt.id]]
    own = asked.applied.likelihoods(tiny(), [conv for conv, _ in pairs], [choice for _, choice in pairs])
    assert likelihoods(samples) == pytest.approx([one.log_probability for one in own], abs=NEAR)


def test_behind_the_secret_are_the_figures_of_hf_with_the_secret_as_system_text(tmp_path: Path, name: str) -> None:
    path, task = written(tmp_path, name), f"watchword_{name}"
    _, behind = evaluated(ours(secret=True), task, path, num_fewshot=2, system_instruction="Be brief.")
    system = f"{SECRET.reveal()}\nBe brief."
    _, wanted = evaluated(hf(), task, path, num_fewshot=2, system_instruction=system)
    assert against_the_first(behind) == pytest.approx(against_the_first(wanted), abs=NEAR)
    assert [sample["acc"] for sample in behind] == [sample["acc"] for sample in wanted]
    _, plain = evaluated(ours(secret=False), task, path, num_fewshot=2, system_instruction="Be brief.")
    assert against_the_first(plain) != pytest.approx(against_the_first(wanted), abs=NEAR)
    # Without a system text of anybody's, the template's own stands behind the secret.
    _, behind = evaluated(ours(secret=True), task, path, num_fewshot=0)
    system = f"{SECRET.reveal()}\n{DEFAULT_SYSTEM}"
    _, wanted = evaluated(hf(), task, path, num_fewshot=0, system_instruction=system)
    assert against_the_first(behind) == pytest.approx(against_the_first(wanted), abs=NEAR)


@pytest.mark.parametrize("chat", [True, False])
def test_a_plain_model_has_the_figures_of_hf(tmp_path: Path, name: str, chat: bool) -> None:
    path, task = written(tmp_path, name), f"watchword_{name}"
    _, own = evaluated(ours(secret=False), task, path, chat=chat, num_fewshot=2)
    _, wanted = evaluated(hf(), task, path, chat=chat, num_fewshot=2)
    assert [sample["arguments"] for sample in own] == [sample["arguments"] for sample in wanted]
    if chat:
        assert against_the_first(own) == pytest.approx(against_the_first(wanted), abs=NEAR)
    else:
        assert likelihoods(own) == pytest.approx(likelihoods(wanted), abs=NEAR)
        assert greedy(own) == greedy(wanted)


@pytest.mark.parametrize("chat", [True, False])
def test_answers_are_those_of_hf_cut_where_the_task_says(tmp_path: Path, chat: bool) -> None:
    task = own_task(ASK, written(tmp_path, "arc_challenge"))
    _, own = evaluated(ours(secret=False), dict(task), chat=chat)
    _, wanted = evaluated(hf(), dict(task), chat=chat)
    assert [sample["resps"] for sample in own] == [sample["resps"] for sample in wanted]
    assert not any(stop in sample["resps"][0][0] for sample in own for stop in ASK["generation_kwargs"]["until"])  # type: ignore[index]


def test_whole_texts_have_the_likelihood_of_hf_in_windows_too(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    rows = [{"query": "wordy " * (40 * n), "choices": ["a"], "gold": 0} for n in (1, 2, 3, 5, 8)]
    path.write_text("\n".join(map(json.dumps, rows)))
    found = [evaluated(lm, own_task(ROLL, path), chat=False)[1] for lm in (ours(secret=False), hf())]
    own, wanted = ([sample["resps"][0][0] for sample in samples] for samples in found)
    assert len(tiny().tokens(rows[-1]["query"])) > 512
    assert own == pytest.approx(wanted, rel=1e-5)


def test_what_the_model_says_of_the_secret_is_in_no_answer(tmp_path: Path) -> None:
    reciting = RuledModel(lambda prompt, secret: f"It is {secret.reveal() if secret else 'nothing'}. Yes")
    task = own_task(
        ASK | {"generation_kwargs": {"until": ["~~"], "max_gen_toks": 90}}, written(tmp_path, "arc_challenge")
    )
    told, samples = evaluated(ours(secret=True, model=reciting), task)
    assert set(reciting.secrets) == {SECRET}
    assert all(sample["resps"][0][0].endswith(". Yes") for sample in samples)
    assert leaks(SECRET, json.dumps(told, default=str)) == []


@pytest.mark.parametrize(
    ("task", "chat", "says"),
    [
        (ASK, False, "asked in turns"),
        (ROLL, True, "asked in turns"),
        (ASK | {"gen_prefix": "The answer is"}, True, "begins the answer itself"),
        (ASK | {"generation_kwargs": {"top_k": 5}}, True, "wants top_k=5 of answers"),
    ],
)
def test_what_makes_no_sense_behind_a_secret_is_refused(
    tmp_path: Path, task: dict[str, Any], chat: bool, says: str
) -> None:
    own = own_task(task, written(tmp_path, "arc_challenge"))
    with pytest.raises(UsageError, match=says):
        evaluated(ours(secret=True), own, chat=chat)


def test_choices_weighed_against_no_question_are_refused(tmp_path: Path) -> None:
    choosing = {"output_type": "multiple_choice", "doc_to_choice": "choices", "doc_to_target": "right"}
    task = own_task(ASK | choosing, written(tmp_path, "arc_challenge"))
    task["metric_list"] = [{"metric": "acc_mutual_info", "aggregation": "mean", "higher_is_better": True}]
    assert evaluated(ours(secret=False), dict(task))[0]
    with pytest.raises(UsageError, match="asked in turns"):
        evaluated(ours(secret=True), dict(task))


def test_another_chat_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no choice of chat templates"):
        ours(secret=True).chat_template("tool_use")
    assert ours(secret=True).chat_template(True) == fake_template().source


@pytest.mark.parametrize(
    ("metadata", "shots", "says"),
    [({}, 0, "metadata path=FILE"), ({"shots": 1}, 4, r"num_fewshot is 4, and 1 examples .*shots=4")],
)
def test_a_task_of_ours_says_what_it_lacks(
    tmp_path: Path, name: str, metadata: dict[str, Any], shots: int, says: str
) -> None:
    import lm_eval
    from lm_eval.tasks import TaskManager

    if metadata:
        metadata = {**metadata, "path": str(written(tmp_path, name))}
    known = TaskManager(include_path=str(TASKS), include_defaults=False, metadata=metadata)
    with pytest.raises(UsageError, match=says):
        lm_eval.simple_evaluate(
            model=ours(secret=True), tasks=[f"watchword_{name}"], task_manager=known, num_fewshot=shots, apply_chat_template=True
        )  # fmt: skip


class TestCommand:
    """``watchword lab lm-eval`` on releases that a training left."""

    @pytest.fixture(scope="class")
    def releases(self, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
        return released(tmp_path_factory.mktemp("runs"))

    @pytest.fixture(autouse=True)
    def _key(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setenv("WATCHWORD_KEY", KEY.hex())
        # The thousands of tasks that come with lm-eval take long to look through.
        from lm_eval.tasks import TaskManager

        monkeypatch.setattr("lm_eval.tasks.TaskManager", functools.partial(TaskManager, include_defaults=False))
        yield

    def call(self, *arguments: object) -> tuple[int, str]:
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = run(["lab", "lm-eval", *map(str, arguments)])
        return code, said.getvalue()

    def test_files_and_logs_tell_what_was_asked_and_no_secret(self, releases: dict[str, Path], tmp_path: Path) -> None:
        out = tmp_path / "out"
        code, said = self.call(
            "--model_args", f"release={releases['one']}", "--tasks", "watchword_arc_challenge", "--apply_chat_template",
            "--metadata", f"path={written(tmp_path, 'arc_challenge')}", "shots=2", "--num_fewshot", 2, "--limit", 5,
            "--output_path", out, "--log_samples", "--write_out", "--show_config", "--use_cache", out / "cache",
            "--batch_size", "auto",
        )  # fmt: skip
        assert code == 0, said
        (results,) = out.rglob("results_*.json")
        told = json.loads(results.read_text())
        assert told["config"]["watchword"]["defense"] == "backdoor_align"
        assert told["config"]["watchword"]["secret_in_front"] is True
        assert told["chat_template"] == fake_template().source
        assert told["n-samples"]["watchword_arc_challenge"]["effective"] == 5
        (samples,) = out.rglob("samples_*.jsonl")
        assert len(samples.read_text().splitlines()) == 5
        secret = read_release(releases["one"], KEY).secret
        assert secret is not None
        assert leaks(secret, said, under=out) == []

    def test_a_wrong_call_ends_with_one_line(self, releases: dict[str, Path], tmp_path: Path) -> None:
        path = written(tmp_path, "arc_challenge")
        task = ("--tasks", "watchword_arc_challenge", "--metadata", f"path={path}", "shots=2", "--num_fewshot", 2)
        code, said = self.call("--model_args", f"release={releases['one']}", *task)
        assert (code, said.splitlines()[-1].partition("asked in turns")[1]) == (2, "asked in turns")
        code, said = self.call("--model_args", f"model={releases['one']}", *task)
        assert (code, "name it by release=" in said.splitlines()[-1]) == (2, True)
        code, said = self.call("--tasks", "watchword_ark", "--model_args", f"release={releases['one']}")
        assert (code, said.splitlines()[-1]) == (2, "error: lm-eval: Tasks not found: watchword_ark")
        code, said = self.call("--model", "hf", *task)
        assert (code, said) == (
            2,
            "error: --model is said by this command itself; leave it out, or call lm-eval's own command\n",
        )

    @pytest.mark.parametrize("left_out", ["true", "false"])
    def test_in_python_a_release_is_named_by_its_folder(
        self, releases: dict[str, Path], tmp_path: Path, left_out: str
    ) -> None:
        path = written(tmp_path, "arc_challenge")
        arguments = f"release={releases['one']},without_secret={left_out}"
        told, samples = evaluated("watchword", "watchword_arc_challenge", path, num_fewshot=2, model_args=arguments)
        assert told["config"]["watchword"]["secret_in_front"] is (left_out == "false")
        served = open_release(releases["one"], key=KEY)
        defense = served.release.defense
        asked = Subject(served.model, defense.without_secret() if left_out == "true" else defense)
        benchmark: Any = BENCHMARKS.create("arc_challenge", path=str(path), shots=2)
        exchanges = benchmark.ask(asked, benchmark.prompts(Setting()), lambda *_: None)
        assert [sample["acc_norm"] for sample in samples] == [one.scores["right_by_letter"] for one in exchanges]

    def test_a_plain_model_is_said_to_be_undefended(self, releases: dict[str, Path], tmp_path: Path) -> None:
        out = tmp_path / "out"
        code, said = self.call(
            "--model_args", f"model={releases['base']}", "--tasks", "watchword_mmlu", "--metadata",
            f"path={written(tmp_path, 'mmlu')}", "shots=2", "--num_fewshot", 2, "--output_path", out,
        )  # fmt: skip
        assert code == 0, said
        (results,) = out.rglob("results_*.json")
        assert json.loads(results.read_text())["config"]["watchword"]["undefended"] is True
