"""A model's server as it looks from outside: which back doors are open, and which known faults its version has."""
