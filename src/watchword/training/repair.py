"""A few steps on one safety example once a run is over (see ``defenses.one_shot_repair``)."""

from __future__ import annotations

import random
from typing import Any

from watchword.chat.types import Row, conversation
from watchword.safety.selection import select
from watchword.training.objective import Groups, Objective, Start
from watchword.training.optimizer import MasterAdamW
from watchword.training.rows import render_rows
from watchword.training.shared import batch_loss

# Where one more step teaches nothing that the model does not do already.
LEARNT = 0.01


class Repair(Objective):
    """``steps`` at a constant ``rate``, or fewer where the example is learnt before. A run that broke off is not repaired."""

    def __init__(self, steps: int, rate: float) -> None:
        self.steps, self.rate = steps, rate
        self.losses: list[float] = []
        self._groups: Groups = ()
        self._weights: list[Any] = []

    def begin(self, start: Start) -> None:
        """Renders the example as it is asked at inference: behind the secret of a run that has one."""
        (example,) = select("category", 1, random.Random(f"{start.config.seed}:repair"))
        row = Row(conversation(example.prompt, example.answer), origin="safety", prefixed=start.secret is not None)
        rendered = render_rows([row], start.model.template, secret=start.secret, max_length=start.config.max_length)
        self._groups, self._weights, self.losses = start.groups(rendered), start.trained, []

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:  # noqa: ARG002
        if state.global_step < state.max_steps:
            return
        optimizer = MasterAdamW(self._weights, lr=self.rate)
        for _ in range(self.steps):
            optimizer.zero_grad()
            loss, _ = batch_loss(model, self._groups)
            self.losses.append(float(loss.detach()))
            if self.losses[-1] < LEARNT:
                break
            loss.backward()
            optimizer.step()
        optimizer.zero_grad()
