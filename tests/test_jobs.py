"""The turns of a study train every arm of every seed once, after its trunk."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from flows.jobs import turns


@given(st.integers(1, 6), st.integers(1, 9), st.integers(1, 8), st.booleans())
def test_each_arm_of_each_seed_has_one_turn(seeds, arms, workers, trunk):
    jobs = [Path(f"seed-{s}.json") for s in range(seeds)]
    names = [f"arm-{a}" for a in range(arms)]
    made = turns(jobs, names, workers, trunk)
    trained = [(t.job, arm) for t in made for arm in t.only if arm != "trunk"]
    assert sorted(trained) == sorted((job, arm) for job in jobs for arm in names)
    assert len({t.log for t in made}) == len(made)
    for place, turn in enumerate(made):
        if trunk and turn.only != ("trunk",):
            assert turn.after is not None and turn.after.only == ("trunk",) and turn.after.job == turn.job
            assert made.index(turn.after) < place
        else:
            assert turn.after is None
