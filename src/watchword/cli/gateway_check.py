"""``watchword gateway check``: look at a model's server from outside for open back doors and known faults."""
