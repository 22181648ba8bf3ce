"""Does a request name a harmful goal? A weak guess by naive Bayes from the packaged examples.

Of public prompts it finds about half at best, and hardly any behind one harmless sentence. It takes one ordinary
instruction in eleven for harmful (docs/method.md has the figures). No defense may depend on it alone.

It is trained when first used, on words and word pairs of the packaged harmful, ordinary and borderline requests. No
split that is for evaluation is among them.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable

from watchword.safety.library import Split, examples

_HARMFUL: tuple[Split, ...] = ("policy_align", "safety_examples")
_ORDINARY: tuple[Split, ...] = ("benign_align", "borderline_align", "anchors", "task")
_WORD = re.compile(r"[a-z']+")
# Log odds from which on a request counts; perf/harm_guess.py measures what that finds.
THRESHOLD = 4.0
# Long texts repeat themselves; what is asked for stands early.
_READ = 60


def looks_harmful(request: str) -> bool:
    """Whether the request is more like the packaged harmful ones than like the ordinary ones, by a clear margin."""
    return log_odds(request) > THRESHOLD


def log_odds(request: str) -> float:
    """Natural log odds that a request is harmful; 0 knows nothing."""
    weights = _weights()
    return sum(weights.get(feature, 0.0) for feature in _features(request))


@functools.cache
def _weights() -> dict[str, float]:
    """Log ratio of each feature's smoothed frequency; features seen once tell nothing."""
    harmful, ordinary = _counts(_HARMFUL), _counts(_ORDINARY)
    many, few = sum(harmful.values()) + len(harmful), sum(ordinary.values()) + len(ordinary)
    return {
        feature: math.log((harmful[feature] + 1) / many) - math.log((ordinary[feature] + 1) / few)
        for feature in {*harmful, *ordinary}
        if harmful[feature] + ordinary[feature] > 1
    }


def _counts(splits: Iterable[Split]) -> Counter[str]:
    return Counter(feature for split in splits for example in examples(split) for feature in _features(example.prompt))


def _features(text: str) -> set[str]:
    words = _WORD.findall(text.lower())[:_READ]
    return {*words, *(" ".join(pair) for pair in itertools.pairwise(words))}
