"""A proxy between tenants and an OpenAI-compatible server: the secret on every request, in no reply. No torch.

``app`` answers calls, ``asking`` and ``streaming`` carry one to the upstream and back, ``served`` holds the releases. OpenAI's
JSON stands in ``wire`` only: what comes in and what goes out is built anew from known fields, on both sides.
"""
