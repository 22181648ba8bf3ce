"""Azure's Foundry: OpenAI's files and jobs at each customer's own address. A tuned model answers once it is deployed there."""

from __future__ import annotations

from watchword.remote.profiles.base import Profile


class AzureProfile(Profile):
    title = "Azure"
    url_example = "https://RESOURCE.openai.azure.com/openai/v1"
    key_env = "AZURE_OPENAI_API_KEY"
    # Its documentation names no metadata of jobs. The file's id is enough to find one.
    metadata = False
    retention = "Azure keeps an uploaded file in your resource until it is deleted."
