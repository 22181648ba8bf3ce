"""The OpenAI-compatible fine-tuning service: every job is guarded, every reply carries the secret, unseen."""
