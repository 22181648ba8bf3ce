"""What a tenant may choose of a training, and what is taken where it leaves the choice: all by the policy."""

from __future__ import annotations

from watchword.service.settings import Policy
from watchword.service.types.jobs import Hyperparameters, JobError
from watchword.service.worker.checks import JobRefusedError
from watchword.training.config import MOST_SEED, TrainingConfig


def resolved(asked: Hyperparameters, policy: Policy) -> Hyperparameters:
    """The same with numbers in the place of ``auto``. Raises JobRefusedError for what is beyond the policy's bounds."""
    usual = policy.training
    found = Hyperparameters(
        n_epochs=usual.epochs if asked.n_epochs == "auto" else asked.n_epochs,
        batch_size=usual.batch_size if asked.batch_size == "auto" else asked.batch_size,
        learning_rate_multiplier=1.0 if asked.learning_rate_multiplier == "auto" else asked.learning_rate_multiplier,
    )
    for name in ("n_epochs", "batch_size", "learning_rate_multiplier"):
        if getattr(asked, name) != "auto":
            _check(name, getattr(found, name), getattr(policy.bounds, name))
    return found


def training_of(asked: Hyperparameters, policy: Policy, *, seed: int, max_length: int) -> TrainingConfig:
    """The training of resolved hyperparameters. The multiplier is of the policy's learning rate."""
    assert asked.n_epochs != "auto" and asked.batch_size != "auto" and asked.learning_rate_multiplier != "auto"
    return TrainingConfig(
        epochs=asked.n_epochs,
        batch_size=asked.batch_size,
        learning_rate=policy.training.learning_rate * asked.learning_rate_multiplier,
        max_length=max_length,
        checkpoint_steps=policy.training.checkpoint_steps,
        seed=seed % (MOST_SEED + 1),
    )


def _check(name: str, value: float, bounds: tuple[float, float]) -> None:
    least, most = bounds
    if not least <= value <= most:
        message = f"{name} is {value}; this model is tuned with {least} to {most}."
        raise JobRefusedError(JobError("invalid_hyperparameters", message, f"hyperparameters.{name}"))
