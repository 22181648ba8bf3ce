"""The release gate: whether a tuned model may be served, measured on prompts and rows that it was not trained on."""
