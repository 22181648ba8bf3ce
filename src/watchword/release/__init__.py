"""A tuned model with its manifest and sealed secret: what is served, and the only way back in."""
