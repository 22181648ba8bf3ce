"""A base model → an aligned model: recipe, run and model card."""
