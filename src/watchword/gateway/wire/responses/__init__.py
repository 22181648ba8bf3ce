"""POST /v1/responses, without anything that is stored: asked as a chat, and answered in its own form."""
