"""Did two names of a text change places in its rewrite? Only a model that reads both texts can tell.

    names of both texts, hidden --a model of places (rewriters/places.py)--> affinities --crosswise, by far--> `A for B`

Every name stays in the text, so no list of names tells: X sued Y, Y was sued by X, Y sued X. Names of one surname are
one thing here, and so are those that share an initial; names that stand too far on for the model are not looked at.
"""

from __future__ import annotations

import itertools

import numpy as np

from rewriters import check_names as names
from rewriters.checks import Side
from rewriters.places import Places, Span, apart, crossed

Thing = tuple[list[Span], list[Span]]  # where a name stands in source and rewrite


def entities(source: Side, rewrite: Side) -> list[Thing]:
    """Names of both texts; names are one where they share a word that is no title and no general one."""
    found: list[tuple[set[str], Thing]] = []
    for of, (text, other) in enumerate(((source, rewrite), (rewrite, source))):
        for run in names.names(text, other):
            told = {n.folded.removesuffix("'s") for n in run} - names.TITLES - names.GENERIC
            thing: Thing = ([], [])
            thing[of].append((run[0].start, run[-1].start + len(run[-1].spelt.removesuffix("'s"))))
            for group in [group for group in found if group[0] & told]:
                told |= group[0]
                thing = thing[0] + group[1][0], thing[1] + group[1][1]
                found.remove(group)
            found.append((told, thing))
    return [thing for _, thing in found if thing[0] and thing[1]]


def asked(source: Side, rewrite: Side) -> Places | None:
    """What a model is to be asked: all names that stand in both texts, hidden; None where there are not two."""
    these = entities(source, rewrite)
    if len(these) < 2:
        return None
    one, other = (apart((span, at) for at, thing in enumerate(these) for span in thing[of]) for of in (0, 1))
    return Places(source.text, rewrite.text, (one, other))


def swapped(told: Places, affinity_AB: np.ndarray, margin: float) -> list[str]:
    """Two names of which each stands where the other stood: log odds above `margin`, by what a model says."""
    seen = np.isfinite(affinity_AB).any(axis=1)
    first = {
        thing: told.source[slice(*span)] for (span, thing), is_seen in reversed([*zip(told.hidden[0], seen)]) if is_seen
    }
    return [
        f"{first[b]} for {first[a]}"
        for a, b in itertools.combinations(sorted(first), 2)
        if crossed(told, affinity_AB, a, b) > margin
    ]
