"""The embedded engine: an OpenAI-compatible server on loopback that answers for a base model and the adapters over it.

To the rest of the service it is what vLLM is: a server of the gateway's, with adapters that are loaded at run time.
"""

from watchword.service.engine.serving import run

__all__ = ["run"]
