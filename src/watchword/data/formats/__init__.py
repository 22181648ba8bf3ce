"""The row formats that we read and write: one file each, found by name."""
