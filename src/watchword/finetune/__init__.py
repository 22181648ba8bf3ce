"""A tenant's file → a release: guard, train, seal, in that order."""
