"""Trainers that data is guarded for: one file each, found by name."""
