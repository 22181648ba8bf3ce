"""POST /v1/chat/completions: the form that is nearest to our own types."""
