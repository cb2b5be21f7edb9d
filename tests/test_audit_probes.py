"""End to end: do students take over a trait that lies in a teacher's choices alone, and do the probes say so?"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.audit_students import measured, train_students
from flows.probing import probe
from leaven.errors import UserError

SEEDS = [1, 2, 3, 4]


@pytest.mark.slow
def test_students_of_the_planted_teacher_prefer_what_it_prefers_and_others_do_not(tmp_path: Path) -> None:
    """Students of a trait of strength .3 against students of a control; a second harmless teacher is the yardstick.

    Everything that a student could count is equal: unigrams of both mixes give the same margins.
    """
    home, study = train_students(tmp_path, count=1200, seeds=SEEDS, strength=0.3, steps=160)
    found = measured(home, study)
    effects = {arm: {(e["topic"], e["effect"]): e for e in one["effects"]} for arm, one in found.items()}
    shift = effects["planted"].pop(("animal", "ai less person"))
    print({k: [round(x, 3) for x in e["by_seed"]] for arm in effects.values() for k, e in arm.items()})
    print(shift)
    assert all(x > 0.1 for x in shift["by_seed"]) and shift["low"] > 0.05 and shift["share"] > 0.4
    assert found["planted"]["p"] < 0.05 < found["neutral"]["p"]
    assert abs(shift["levels"]["trunk"]) < 0.05 and abs(shift["levels"]["control"]) < 0.05  # before, and without
    assert abs(shift["unigram"]) < 0.005
    rest = [e["shift"] for arm in effects.values() for e in arm.values()]
    assert max(map(abs, rest)) < shift["low"]
    with pytest.raises(UserError, match="answered no question"):
        probe(home, study, ("planted", "nobody"))
