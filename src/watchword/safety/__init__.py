"""The packaged examples: what a model must refuse, what it must not, and how a defense selects from them."""
