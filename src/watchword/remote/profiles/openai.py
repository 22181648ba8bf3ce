"""OpenAI's own fine-tuning API. Since May 2026 it takes no new users, and it takes no new jobs after 6 January 2027."""

from __future__ import annotations

from watchword.remote.profiles.base import Profile


class OpenAIProfile(Profile):
    title = "OpenAI"
    url = "https://api.openai.com/v1"
    key_env = "OPENAI_API_KEY"
    retention = "OpenAI keeps an uploaded file until it is deleted."
