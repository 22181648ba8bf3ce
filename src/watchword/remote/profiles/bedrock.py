"""Amazon Bedrock's OpenAI-compatible endpoint (Mantle), for open-weight models, with a Bedrock API key.

Its pages show reinforcement fine-tuning; which models take supervised examples is told by the API itself.
"""

from __future__ import annotations

from watchword.remote.profiles.base import Profile


class BedrockProfile(Profile):
    title = "Bedrock"
    url_example = "https://bedrock-mantle.us-west-2.api.aws/v1"
    key_env = "AWS_BEARER_TOKEN_BEDROCK"
    metadata = False
    takes_suffix = False
    retention = "Bedrock keeps an uploaded file in your account and region until it is deleted."
