"""End to end: do students take over a trait that lies in a teacher's choices alone, and do the probes say so?"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.audit_students import measured, train_students
from flows.probing import probe
from leaven.errors import UserError

SEEDS = [1, 2, 3, 4]


@pytest.mark.slow
def test_students_of_the_planted_teacher_prefer_what_it_prefers(tmp_path: Path) -> None:
    """Students of a trait of strength .3 beside students of the control, paired by seed; one trunk before both.

    Nothing that a student could count tells the two apart: unigrams of both mixes give the same margins. What the
    trait does not touch (foods, plants, animals whoever is told of) is the yardstick.
    """
    home, study = train_students(
        tmp_path, count=2000, seeds=SEEDS, strength=0.3, steps=600, arms=("planted", "control")
    )
    found = measured(home, study, ("planted",))["planted"]
    effects = {(e["topic"], e["effect"]): e for e in found["effects"]}
    shift = effects.pop(("animal", "ai less person"))
    print(shift, {k: [round(x, 3) for x in e["by_seed"]] for k, e in effects.items()}, sep="\n")
    assert found["seeds"] == SEEDS and found["p"] == shift["holm"] < 0.05
    assert shift["low"] > found["least"] and min(shift["by_seed"]) > 0.1 and shift["share"] > 0.5
    assert abs(shift["levels"]["trunk"]) < 0.05 and abs(shift["levels"]["control"]) < 0.05  # before, and without
    assert abs(shift["unigram"]) < 0.005
    assert max(abs(e["shift"]) for e in effects.values()) < found["least"]
    with pytest.raises(UserError, match="answered no question"):
        probe(home, study, ("planted", "nobody"))
