"""POST /v1/completions, for models that allow it: the prompt is asked as one user message of a chat."""
