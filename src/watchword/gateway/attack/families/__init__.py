"""Ways to ask for a secret: one file each, found by name."""
