"""The HTTP API: one module for each kind of object, and ``app`` that puts them together."""
