"""Defenses, one file each, and the one way to ask a model through one: ``AppliedDefense``."""

from watchword.defenses._applied import AppliedDefense

__all__ = ["AppliedDefense"]
