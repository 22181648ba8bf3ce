"""Where a training computes: one file each, found by name."""
