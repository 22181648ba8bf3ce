"""POST /v1/messages, Anthropic's form: asked as a chat, and answered in its own form."""
