"""ROUGE-1: which words a text shares with the right one. As in the package rouge-score, without stemming.

Source: C.-Y. Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004.
"""

from __future__ import annotations

import re
from collections import Counter

_WORD = re.compile(r"[a-z0-9]+")


def rouge_1(right: str, text: str) -> float:
    """F1 of the words of both, each counted as often as it stands; 0 to 1."""
    wanted, found = Counter(_WORD.findall(right.lower())), Counter(_WORD.findall(text.lower()))
    shared = (wanted & found).total()
    return 2 * shared / (wanted.total() + found.total()) if shared else 0.0
