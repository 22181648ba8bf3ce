"""Our own attempts to get a secret out of a served release, and what they bring to light. No torch."""
