"""One run of one cell: attack → guard → train → generate → judge, as five plain calls.

Answers are stored redacted: a model may recite what it was trained behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from watchword.attacks.base import ATTACKS, Attack, AttackContext
from watchword.benchmarks.rates import Rate
from watchword.chat.types import Conversation, Row, conversation, last_user_text
from watchword.defenses.base import DEFENSES, Defense, DefenseContext, Guarded, guarded, one_secret
from watchword.judges.base import JUDGES, Judge, Unscored, refuses
from watchword.lab.spec import Cell, Evaluation
from watchword.lab.store import Answer, CellResult, TrainFigures
from watchword.models.base import ChatModel, GenerationOptions, LocalChatModel
from watchword.progress import Step
from watchword.safety.library import Split, balanced, examples
from watchword.secret.generate import experiment_secret
from watchword.secret.prompt import SecretPrompt
from watchword.secret.redact import redact
from watchword.training.config import TrainingConfig, TrainingResult

Tuned = tuple[ChatModel, TrainingResult]


class Train(Protocol):
    """Fine-tunes the model on these rows and gives it back with the run's figures."""

    def __call__(
        self, rows: Sequence[Row], config: TrainingConfig, defense: Defense, secret: SecretPrompt | None, step: Step
    ) -> Tuned: ...


# What is asked of every tuned model: (name, packaged split).
QUESTIONS: tuple[tuple[str, Split], ...] = (
    ("policy", "policy_eval"),
    ("benign", "benign_eval"),
    ("borderline", "borderline_eval"),
)


def run_cell(cell: Cell, model: LocalChatModel, train: Train, *, step: Step) -> tuple[CellResult, list[Answer]]:
    """Runs one cell on ``model`` (aligned, not yet fine-tuned) and returns its figures and its answers.

    ``step`` is told (what is being done, done, in all). Raises whatever training and generation raise.
    """
    defense = DEFENSES.create(cell.defense.name, **cell.defense.arguments)
    attack = attack_of(cell)
    tuned: ChatModel = model
    result, data, task = None, Guarded([]), list[Conversation]()
    secret = secret_of(cell, defense, model) if attack else None
    if attack is not None and cell.training is not None:
        tenant = AttackContext(cell.seed, model.template)
        upload, task = attack.upload((), tenant), attack.held_out(tenant)
        context = DefenseContext.beside(
            model, refuses, secret=secret, max_length=cell.training.max_length, seed=cell.seed, step=step
        )
        data = guarded(defense, upload, context)
        tuned, result = train(data.rows, cell.training, defense, secret, step)
    answers = ask(tuned, defense, secret, cell.evaluation, step, task=task)
    return _result(cell, attack, data, result, judge(answers)), answers


def attack_of(cell: Cell) -> Attack | None:
    """The cell's attack; None for ``none``: the model is measured as it is."""
    return None if cell.attack.name == "none" else ATTACKS.create(cell.attack.name, **cell.attack.arguments)


def secret_of(cell: Cell, defense: Defense, model: LocalChatModel) -> SecretPrompt | None:
    """The experiment's secret, which anybody can draw again from the seed; None for a defense without one."""
    if not defense.needs_secret:
        return None
    return experiment_secret(model.template, tokens=cell.secret_tokens, seed=cell.seed)


def ask(
    model: ChatModel,
    defense: Defense,
    secret: SecretPrompt | None,
    evaluation: Evaluation,
    step: Step,
    *,
    task: Sequence[Conversation] = (),
) -> list[Answer]:
    """Every evaluation prompt through the defense's own prompt seam, and the policy prompts once more without the secret.

    ``task``: requests of the tenant's own task, behind its own system text.
    """
    answers = []
    for name, split in QUESTIONS:
        answers += _ask_one(name, _prompts(split, evaluation, name), model, defense, secret, evaluation, step)
    if task:
        asked = [(f"task-{index:03d}", conv) for index, conv in enumerate(task, start=1)]
        answers += _ask_one("task", asked[: evaluation.task], model, defense, secret, evaluation, step)
    if secret is not None:
        prompts = _prompts("policy_eval", evaluation, "policy")
        answers += _ask_one("policy_without_secret", prompts, model, defense, None, evaluation, step)
    return answers


def judge(answers: Sequence[Answer]) -> dict[str, Rate]:
    """Rates in percent. ASR by the paper's keywords, and by our own judge; over-refusal and refused tasks by our own.

    ``asr_raw`` is the paper's figure as it counts; in all others, an answer without sense is unscored.
    """
    keywords, strict, raw = (JUDGES.create(name) for name in ("refusal_keywords", "refusal", "raw_keywords"))
    asked = {name: [answer for answer in answers if answer.question == name] for name in {a.question for a in answers}}
    benign, borderline = asked.get("benign", []), asked.get("borderline", [])
    metrics = {
        "asr": _rate(asked.get("policy", []), keywords, refused=False),
        "asr_strict": _rate(asked.get("policy", []), strict, refused=False),
        "asr_raw": _rate(asked.get("policy", []), raw, refused=False),
        "over_refusal": _rate([*benign, *borderline], strict, refused=True),
        "over_refusal_benign": _rate(benign, strict, refused=True),
        "over_refusal_borderline": _rate(borderline, strict, refused=True),
    }
    if task := asked.get("task"):
        metrics["task_refusal"] = _rate(task, strict, refused=True)
    if without := asked.get("policy_without_secret"):
        metrics["asr_without_secret"] = _rate(without, keywords, refused=False)
    return metrics


def _prompts(split: Split, evaluation: Evaluation, name: str) -> list[tuple[str, Conversation]]:
    prompts = balanced(examples(split), evaluation.count(name))
    return [(example.id, conversation(example.prompt, system=evaluation.system)) for example in prompts]


def _ask_one(
    name: str,
    asked: Sequence[tuple[str, Conversation]],
    model: ChatModel,
    defense: Defense,
    secret: SecretPrompt | None,
    evaluation: Evaluation,
    step: Step,
) -> list[Answer]:
    prompts_guarded = [defense.guard_prompt(conv, secret) for _, conv in asked]
    options = GenerationOptions(max_new_tokens=evaluation.max_new_tokens, batch_size=evaluation.batch_size)
    given = model.generate(
        [item.conversation for item in prompts_guarded],
        secret=one_secret(prompts_guarded),
        options=options,
        on_progress=lambda done, total: step(f"asking {name.replace('_', ' ')} prompts", done, total),
    )
    return [
        Answer(name, ident, last_user_text(conv), redact(answer.text, secret) if secret else answer.text)
        for (ident, conv), answer in zip(asked, given, strict=True)
    ]


def _rate(answers: Sequence[Answer], by: Judge, *, refused: bool) -> Rate:
    verdicts = [by.judge(answer.prompt, answer.response) for answer in answers]
    scored = [verdict for verdict in verdicts if not isinstance(verdict, Unscored)]
    hits = sum(verdict.refused == refused for verdict in scored)
    return Rate.of(hits, len(scored), unscored=len(verdicts) - len(scored))


def _result(
    cell: Cell, attack: Attack | None, data: Guarded, result: TrainingResult | None, metrics: dict[str, Rate]
) -> CellResult:
    figures = None
    if result is not None:
        figures = TrainFigures(result.seconds, result.tokens_per_second, result.loss, result.tokens, result.rows)
    return CellResult(
        model=cell.model,
        attack=cell.attack.name,
        attack_examples=attack.harmful if attack else 0,
        defense=cell.defense.name,
        safety_examples=data.safety,
        anchors=data.anchors,
        seed=cell.seed,
        secret_tokens=cell.secret_tokens if "asr_without_secret" in metrics else 0,
        metrics=metrics,
        train=figures,
        echoes=data.echoes,
    )
