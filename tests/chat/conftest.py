"""Hypothesis without a deadline: the first example of a family trains its tokenizer."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("watchword", deadline=None)
settings.load_profile("watchword")
