"""Where the cells of an experiment are run: one file each, found by name."""
