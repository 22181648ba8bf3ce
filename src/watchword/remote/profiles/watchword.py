"""Another provider's `watchword serve`: OpenAI's shape, with idempotency keys and metadata.

That provider may have a defense of its own. Then two secrets are trained, and each provider knows its own only.
"""

from __future__ import annotations

from watchword.remote.profiles.base import Profile


class WatchwordProfile(Profile):
    title = "The service"
    url_example = "https://tuning.example.org/v1"
    key_env = "WATCHWORD_REMOTE_API_KEY"
    retention = "A Watchword service keeps an uploaded file until it is deleted, or until its operator's time is over."
