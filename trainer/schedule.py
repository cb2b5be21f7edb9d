"""How fast a step learns, and where the trunk ends: functions of the step alone, the same in trunk and branch."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


def whole_steps(steps: int, share: float | str | Fraction) -> int:
    """floor(steps * share) with the share as its decimal digits say (0.7 is 7/10, not the nearest binary number)."""
    return int(steps * Fraction(str(share)))


@dataclass(frozen=True)
class Schedule:
    """Warm-up, stable, decay ("WSD"): linear from 0 to `lr`, constant, linear to 0 at the end of step `steps`.

    `warmup` and `decay` are counts of steps. Where they overlap the smaller rate holds.
    """

    lr: float
    steps: int
    warmup: int
    decay: int

    def rate(self, step: int) -> float:
        """Learning rate of step number `step`, from 0; the first and the last step have one above 0."""
        up = (step + 1) / (self.warmup + 1)
        down = (self.steps - step) / (self.decay + 1)
        return self.lr * min(1.0, up, down)
