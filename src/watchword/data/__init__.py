"""A tenant's data in: sources, row formats, scanning, and the one validator."""
