"""What a provider does about it: one file each, found by name; each may use four seams (``base``)."""
