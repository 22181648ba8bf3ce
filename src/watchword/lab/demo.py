"""The experiment behind ``watchword demo``: the paper's main table, on the embedded model."""

from __future__ import annotations

from watchword.attacks.base import ATTACK_SYSTEM
from watchword.lab.evaluation import Evaluation
from watchword.lab.spec import NO_ATTACK, Arm, Choice, Spec
from watchword.models.catalog import DEFAULT_MODEL
from watchword.training.config import TrainingConfig

DEFENSES = ("none", "safety_mix", "backdoor_align", "anchored_align")
# Attack examples of the short form: the arms are apart, and it ends in minutes on two cores.
SHORT = 25
PART = Evaluation(
    benchmarks={"policy": {"count": 44}, "over_refusal": {"benign": 22, "borderline": 22}},
    max_new_tokens=32,
    system=ATTACK_SYSTEM,
)
# So few rows make few steps: small batches and a high rate let every arm learn what it teaches (results/LOG.md).
SMALL = TrainingConfig(batch_size=2, epochs=4, learning_rate=1e-3)
# The batches with which the paper's own method holds best (results/LOG.md), so that ours is held against it at its strongest.
FULL = TrainingConfig(batch_size=2)


def demo_spec(*, full: bool) -> Spec:
    """The aligned model, and FJAttack against each defense: one seed and part of the prompts, or three and all."""
    return Spec(
        name="demo-full" if full else "demo",
        model=DEFAULT_MODEL,
        arms=[Arm(Choice(NO_ATTACK)), *(_arm(name, 100 if full else SHORT) for name in DEFENSES)],
        seeds=[0, 1, 2] if full else [0],
        training=FULL if full else SMALL,
        evaluation=Evaluation(system=ATTACK_SYSTEM) if full else PART,
    )


def _arm(defense: str, examples: int) -> Arm:
    return Arm(Choice("fj_attack", {"n": examples}), Choice(defense))
