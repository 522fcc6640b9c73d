"""Where on the way from before training to after it a network is looked at.

What a layer sees of an input moves while it is trained, and the change is a sum over the whole way. Inputs explain most
of it at one place: half-way where the way is nearly straight, sooner where most of it was gone early. With the best
inputs for a place, the slope of what they leave is that of the least that any inputs leave (envelope theorem; Milgrom
and Segal, 2002), so that the place can be sought beside the inputs.
"""

HALF_WAY = 0.5
"""Where a search begins."""

ASIDE = 0.02
"""How far from a place the slope is taken, as a share of the way."""

RATE, FARTHEST = 0.15, 0.15
"""A place moves by this much for a slope of 1 at the start of a search, and at most by so much at a time, ..."""

FLAT = 0.1
"""... and for a slope below this not at all: nothing is to be won, and every move disturbs the search."""


def beside(place: float) -> float:
    """Return the place that is compared with one in [0, 1], both on the way."""
    return place + ASIDE if place < HALF_WAY else place - ASIDE


def moved(place: float, here: float, there: float, done: float) -> float:
    """Return the next place in [0, 1].

    Args:
        place: The present one.
        here: Logarithm of what inputs leave there.
        there: The same at :func:`beside`.
        done: Share of the search that is over, in [0, 1]: moves get shorter.
    """
    slope = (there - here) / (beside(place) - place)
    if abs(slope) < FLAT:
        return place
    return min(max(place - min(max((1 - done) * RATE * slope, -FARTHEST), FARTHEST), 0.0), 1.0)
