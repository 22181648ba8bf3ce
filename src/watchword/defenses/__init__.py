"""Defenses, one file each; the rows that several of them mix in, and the one way to ask a model through one."""

from watchword.defenses._applied import AppliedDefense
from watchword.defenses._echoes import ECHO
from watchword.defenses._rows import ANCHOR, SAFETY, rows_of, safety_examples, system_turns

__all__ = ["ANCHOR", "ECHO", "SAFETY", "AppliedDefense", "rows_of", "safety_examples", "system_turns"]
