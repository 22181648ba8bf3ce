"""Whose turn it is: start-time fair queueing over tenants (Goyal, Vin, Cheng 1996), as pure arithmetic.

Each tenant has a *turn*, a virtual time. The waiting tenant with the least turn is served next, and its turn then grows by
one over its weight. Whoever comes back from a pause starts where the others are. So nobody saves up turns, and everyone
who waits is served before anybody else is served more than its share.
"""

from __future__ import annotations


def turn_after(turn: float, weight: float) -> float:
    """The turn of a tenant whose job has just been given to a worker."""
    return turn + 1.0 / weight


def turn_on_return(turn: float, latest_served: float) -> float:
    """The turn of a tenant that has waiting jobs again; ``latest_served`` is the greatest turn that was served."""
    return max(turn, latest_served)
