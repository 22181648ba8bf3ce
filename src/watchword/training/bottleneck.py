"""A term that holds the last hidden states of a few prompts where the aligned model has them (see ``defenses.sbr``)."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from watchword.chat.assembly import assemble
from watchword.chat.render import render_prompt
from watchword.chat.types import conversation
from watchword.models.decode import evaluating
from watchword.safety.selection import select
from watchword.training.objective import Groups, Objective, Start


class Bottleneck(Objective):
    """``weight`` times the mean squared distance of the ``anchors``' states from the aligned model's."""

    def __init__(self, anchors: int, weight: float) -> None:
        self.anchors, self.weight = anchors, weight
        self._inputs: dict[str, Tensor] = {}
        self._aligned = torch.empty(0)

    @torch.no_grad()
    def begin(self, start: Start) -> None:
        self._inputs = {name: values.to(start.model.device) for name, values in _padded(self._prompts(start)).items()}
        with evaluating(start.model.model):
            self._aligned = last_states(start.model.model, self._inputs)

    def term(self, model: Any, groups: Groups) -> Tensor:  # noqa: ARG002
        return self.weight * mse_loss(last_states(model, self._inputs), self._aligned)

    def _prompts(self, start: Start) -> list[list[int]]:
        """As they are asked at inference: behind the secret of a run that has one."""
        chosen = select("category", self.anchors, random.Random(f"{start.config.seed}:bottleneck"))
        asked = [conversation(example.prompt) for example in chosen]
        template, secret = start.model.template, start.secret
        if secret is not None:
            asked = [assemble(conv, secret.reveal(), template.system_style) for conv in asked]
        return [render_prompt(conv, template) for conv in asked]


def last_states(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    """What the unembedding gets (A, width) at the last token of each of A prompts, in float32."""
    outputs = model(**inputs, output_hidden_states=True, use_cache=False, logits_to_keep=1)
    states: Tensor = outputs.hidden_states[-1][:, -1].float()
    return states


def _padded(prompts: list[list[int]]) -> dict[str, Tensor]:
    """Padded in front, so that all end in the same column."""
    width = max(map(len, prompts))
    mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts])
    return {
        "input_ids": torch.tensor([[0] * (width - len(ids)) + ids for ids in prompts]),
        "attention_mask": mask,
        "position_ids": (mask.cumsum(-1) - 1).clamp(min=0),
    }
