"""Safety bottleneck regularisation ("Safety Anchor", Lu et al., arXiv 2605.05995, ICML 2026).

A term ``weight * MSE(h(x), aligned h(x))`` is added to the loss. ``h`` is the hidden state behind the last layer, which
the unembedding gets, at the last token of a harmful prompt ``x``. Wherever the weights go, what is said first stays.
The form is that of the authors' code (soyoaaa/SBR, ``HFT_SBR.py``): mean over anchors and width, eight prompts, weight 50.
Departures: the prompts are the library's own safety examples, and stand behind the secret of a run that has one.
"""

from __future__ import annotations

from dataclasses import dataclass

from watchword.defenses.base import Defense, TrainingHooks
from watchword.errors import UsageError


@dataclass(frozen=True)
class Sbr(Defense):
    """``anchors`` prompts (the paper's least is one), and the term's ``weight``."""

    anchors: int = 8
    weight: float = 50.0

    def __post_init__(self) -> None:
        if self.anchors < 1 or not self.weight > 0:
            raise UsageError(
                f"sbr: anchors is {self.anchors}, weight {self.weight}; give at least one anchor and a weight greater than 0"
            )

    def training_hooks(self) -> TrainingHooks:
        from watchword.training.bottleneck import Bottleneck

        return TrainingHooks((Bottleneck(self.anchors, self.weight),))
