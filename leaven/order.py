"""Which component sits in which seat of a mix: counts and interleaving, in closed form.

    ratios --apportion--> counts --interleave--> seat <-> (phase, component, use)      (then leaven/shuffle.py)

Counts. A phase of N sequences whose ratios have the common denominator P is q = N div P periods, in which every ratio
is exact, and a tail of R = N mod P that is apportioned by largest remainder; the sum is the largest remainder of N.

Order. Inside a period, and inside the tail, components interleave by Tijdeman's rule ("The chairman assignment
problem", Discrete Mathematics 32, 1980) in integers. Let k be the components with a count and a the count of one of
them. After n seats of a period it has had n * a / P within 1 - 1/(2k-2) (exactly where k = 1, and at the period's
end); after m seats of the tail, m * r / R within the same bound. As r is within 1 of R * a / P, every prefix of a
phase is within 1 - 1/(2k-2) of the recipe's share before the tail and less than 2 from it inside the tail.

Cost. A table of P entries and one of R < P give a seat and its inverse in constant time, at 10^12 seats as at 10^6.
Uses of a component run on across phases.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import lcm

import numpy as np

ORDER_VERSION = "order-1"  # a change of any seat changes this
MAX_PERIOD = 10**6


def apportion(ratios: Mapping[str, Fraction], n: int) -> dict[str, int]:
    """Counts of n sequences by largest remainder, exact; ties go to the name that sorts first.

    Ratios must be non-negative and sum to 1 (ValueError otherwise). The counts sum to n.
    """
    if sum(ratios.values()) != 1 or min(ratios.values()) < 0 or n < 0:
        raise ValueError(f"ratios must be non-negative and sum to 1: {dict(ratios)}")
    quota = {name: ratio * n for name, ratio in ratios.items()}
    counts = {name: int(q) for name, q in quota.items()}
    short = n - sum(counts.values())
    for name in sorted(ratios, key=lambda c: (counts[c] - quota[c], c))[:short]:
        counts[name] += 1
    return counts


def period(ratios: Mapping[str, Fraction]) -> int:
    """The common denominator P of the ratios."""
    return lcm(*(Fraction(r).denominator for r in ratios.values()))


def interleave(counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Tijdeman's order of sum(counts) seats: for each its component, an int32 index into `counts`; ties to the lower.

    Use c (from 0) of a component with a of P seats may take step n (from 1) once n * a / P - c >= 1/(2k-2), and is due
    at (c + 1 - 1/(2k-2)) * P / a: of those that may, the one due first goes. The table is made once a phase, in about
    0.6 microseconds a seat.
    """
    share = np.asarray(counts, dtype=np.int64)
    live = np.flatnonzero(share)
    total, m = int(share.sum()), 2 * len(live) - 2
    if len(live) <= 1:
        return np.full(total, live[0] if len(live) else 0, dtype=np.int32)
    component = np.repeat(live, share[live])
    first = np.cumsum(share[live]) - share[live]
    use = np.arange(total) - np.repeat(first, share[live])
    a = share[component]
    may = -(-total * (1 + m * use) // (m * a))  # at most about 5e17: 2k * a <= P^2 / 2
    whole, rest = np.divmod(m * (use + 1) - 1, a)
    # rest / a lies in [0, 1) with steps of at least 1e-12, so equal fractions give equal floats and others do not
    due = np.lexsort((component, rest / a, whole))
    rank = np.empty(total, dtype=np.int64)
    rank[due] = np.arange(total)

    may_take, ranks, job_at, last = may.tolist(), rank.tolist(), due.tolist(), set((first + share[live] - 1).tolist())
    waiting = [(may_take[job], job) for job in first.tolist()]
    heapq.heapify(waiting)
    ready: list[int] = []
    order = [0] * total
    for step in range(1, total + 1):
        while waiting and waiting[0][0] <= step:
            heapq.heappush(ready, ranks[heapq.heappop(waiting)[1]])
        job = job_at[heapq.heappop(ready)]
        order[step - 1] = job
        if job not in last:
            job += 1
            if may_take[job] <= step + 1:
                heapq.heappush(ready, ranks[job])
            else:
                heapq.heappush(waiting, (may_take[job], job))
    return component[order].astype(np.int32)


class _Table:
    """One run of seats: the component of each, its use within the run, and back."""

    def __init__(self, counts: np.ndarray):
        self.component = interleave(counts)
        self.slot = np.argsort(self.component, kind="stable")  # seats by component, then in order
        self.first = np.cumsum(counts) - counts
        self.use = np.empty(len(self.slot), dtype=np.int64)
        self.use[self.slot] = np.arange(len(self.slot)) - np.repeat(self.first, counts)


@dataclass
class _Phase:
    """Counts and tables of one phase; tables are made when first asked for."""

    start: int
    n: int
    period: int
    in_period: np.ndarray  # seats of each component in a period
    in_tail: np.ndarray
    before: np.ndarray  # uses of each component in earlier phases

    @property
    def periods(self) -> int:
        return self.n // self.period

    @property
    def counts(self) -> np.ndarray:
        return self.periods * self.in_period + self.in_tail

    @cached_property
    def body(self) -> _Table:
        return _Table(self.in_period)

    @cached_property
    def tail(self) -> _Table:
        return _Table(self.in_tail)

    def of(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(component, use over the whole mix) of positions in this phase."""
        component, use = np.empty(len(at), dtype=np.int32), np.empty(len(at), dtype=np.int64)
        body = at < self.periods * self.period
        if body.any():
            turn, slot = np.divmod(at[body], self.period)
            component[body] = self.body.component[slot]
            use[body] = turn * self.in_period[component[body]] + self.body.use[slot]
        if not body.all():
            slot = at[~body] - self.periods * self.period
            component[~body] = self.tail.component[slot]
            use[~body] = self.periods * self.in_period[component[~body]] + self.tail.use[slot]
        return component, use + self.before[component]

    def at(self, component: np.ndarray, use: np.ndarray) -> np.ndarray:
        """Positions in this phase; IndexError for a use that is not of this phase."""
        use = use - self.before[component]
        if ((use < 0) | (use >= self.counts[component])).any():
            raise IndexError("no such use of this component in this phase")
        at = np.empty(len(use), dtype=np.int64)
        body = use < self.periods * self.in_period[component]
        if body.any():
            turn, inside = np.divmod(use[body], self.in_period[component[body]])
            at[body] = turn * self.period + self.body.slot[self.body.first[component[body]] + inside]
        if not body.all():
            which = component[~body]
            inside = use[~body] - self.periods * self.in_period[which]
            at[~body] = self.periods * self.period + self.tail.slot[self.tail.first[which] + inside]
        return at


class Seats:
    """Every seat of a mix: seat <-> (phase, component, use of that component over the whole mix).

    `phases` are (name, sequences, {component: ratio}). Components are numbered by sorted name, over all phases
    (`components`); phases in order (`names`). `counts[p, c]` are the sequences of a phase and component. The methods
    take and give NumPy arrays, in constant time a seat; `seat_of(*of(seat)) == seat`.
    """

    def __init__(self, phases: Sequence[tuple[str, int, Mapping[str, Fraction]]]):
        self.names = [name for name, _, _ in phases]
        self.components = sorted({c for _, _, ratios in phases for c in ratios})
        self._phases: list[_Phase] = []
        start, before = 0, np.zeros(len(self.components), dtype=np.int64)
        for name, n, ratios in phases:
            p = period(ratios)
            if p > MAX_PERIOD:
                raise ValueError(f"phase {name!r}: the ratios' common denominator {p} exceeds {MAX_PERIOD}")
            tail = apportion(ratios, n % p)
            as_array = lambda get: np.array([get(c) for c in self.components], dtype=np.int64)  # noqa: E731
            in_period = as_array(lambda c, r=ratios, p=p: int(r.get(c, 0) * p))
            phase = _Phase(start, n, p, in_period, as_array(lambda c, t=tail: t.get(c, 0)), before)
            self._phases.append(phase)
            start, before = start + n, before + phase.counts
        self.total = start
        self._starts = np.array([p.start for p in self._phases], dtype=np.int64)
        self.counts = np.array([p.counts for p in self._phases], dtype=np.int64)

    def of(self, seat: np.ndarray | Sequence[int] | int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(phase, component, use) of seats, each an array; IndexError outside the mix."""
        seats = np.atleast_1d(np.asarray(seat, dtype=np.int64))
        if len(seats) and (seats.min() < 0 or seats.max() >= self.total):
            raise IndexError(f"seats {seats.min()} to {seats.max()} of {self.total}")
        phase = np.searchsorted(self._starts, seats, side="right") - 1
        component, use = np.empty(len(seats), dtype=np.int32), np.empty(len(seats), dtype=np.int64)
        for p in np.unique(phase):
            here = phase == p
            component[here], use[here] = self._phases[p].of(seats[here] - self._starts[p])
        return phase, component, use

    def seat_of(self, phase: np.ndarray, component: np.ndarray, use: np.ndarray) -> np.ndarray:
        """Seats of uses; IndexError for a use that the phase does not hold (`phase_of` tells which does)."""
        phase, component = np.atleast_1d(phase), np.atleast_1d(component)
        use = np.atleast_1d(np.asarray(use, dtype=np.int64))
        seats = np.empty(len(use), dtype=np.int64)
        for p in np.unique(phase):
            here = phase == p
            seats[here] = self._starts[p] + self._phases[p].at(component[here], use[here])
        return seats

    def phase_of(self, component: int, use: np.ndarray | Sequence[int]) -> np.ndarray:
        """The phase that holds each use of one component; IndexError past its last use."""
        ends = np.cumsum(self.counts[:, component])
        phase = np.searchsorted(ends, np.asarray(use, dtype=np.int64), side="right")
        if (phase >= len(ends)).any():
            raise IndexError(f"component {component} is used {ends[-1]} times")
        return phase
