"""Net-new documents: twins are asked for, gated, and of their accepted candidates one text a role is chosen.

    [twins] --scenarios x forms--> requests --teacher, gate--> candidates --match--> whole twins, and how alike they are

A candidate that passes every check and is not chosen fails the check `matched`, whose detail says why; so the accepted
rewrites of a recipe with [twins] are whole twins, and a pool of each role holds the same scenarios.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from leaven.errors import UserError
from leaven.recipe import Recipe, check_recipe
from leaven.tokens import Tokenizer
from rewriters.gate import Check
from rewriters.match_report import match_report
from rewriters.matching import CALIPER, MATCHING_VERSION, Candidate, Matched, match
from rewriters.requests import Request, rewrite_id
from rewriters.rows import Answer
from rewriters.styles import Style
from rewriters.twins import (
    FORMS,
    ROLES,
    TWINS_VERSION,
    Twin,
    draw_twins,
    read_cast,
    read_forms,
    read_scenarios,
    requests,
    twin_styles,
)  # fmt: skip

PART = 256  # twins of one part; a part's twins are matched together
KEYS: dict[str, Any] = {
    "scenarios": (list, []),  # files; those that ship without any
    "forms": (str, ""),
    "cast": (str, ""),
    "roles": (list, list(ROLES)),
    "per": (int, 1),  # twins of each scenario and form
    "count": (int, None),  # of twins in all; default every one
    "candidates": (int, 2),  # texts of each role among which the match chooses
    "topics": (int, 3),  # of the scenario's, for each twin
    "caliper": ((int, Decimal), Decimal(str(CALIPER))),  # times the twin's mean length, either way
}


@dataclass(frozen=True)
class Twins:
    """The twins of a recipe: what is drawn, by which styles, how many candidates each."""

    twins: tuple[Twin, ...]
    styles: dict[str, Style]
    candidates: int
    caliper: Decimal

    @property
    def meaning(self) -> dict[str, Any]:
        return {
            "twins": [t.id for t in self.twins], "candidates": self.candidates, "caliper": self.caliper,
            "styles": {role: s.meaning for role, s in self.styles.items()},
            "versions": [TWINS_VERSION, MATCHING_VERSION],
        }  # fmt: skip

    @property
    def parts(self) -> list[tuple[Twin, ...]]:
        return [self.twins[at : at + PART] for at in range(0, len(self.twins), PART)]

    def requests(self, part: Sequence[Twin]) -> Iterator[Request]:
        """The requests of some twins, twin by twin."""
        for asked in requests(part, self.styles, candidates=self.candidates):
            yield Request(asked.style, "", asked.twin, asked.sample, scenario=asked.scenario, twin=asked.twin,
                          role=asked.role, asked=asked.prompt, words=asked.words)  # fmt: skip


def read_twins(recipe: Recipe, beside: Path) -> Twins | None:
    """The twins of a recipe's [twins] table, or None where it has none; raises UserError for what cannot be drawn."""
    if not recipe["twins"]:
        return None
    table = check_recipe(recipe["twins"], KEYS, recipe.path)
    for key in ("per", "candidates", "topics"):
        if table[key] < 1:
            raise UserError(f"'{key}' must be at least 1, not {table[key]}", where=recipe.where(key, "twins"))
    if table["caliper"] < 1:
        raise UserError(f"'caliper' must be at least 1, not {table['caliper']}", where=recipe.where("caliper", "twins"))
    if strange := [r for r in table["roles"] if r not in ROLES]:
        raise UserError(f"there is no role '{strange[0]}'", where=recipe.where("roles", "twins"),
                        numbers=["roles: " + ", ".join(ROLES)])  # fmt: skip
    twins = draw_twins(
        read_scenarios([beside / p for p in table["scenarios"]]),
        read_forms(beside / table["forms"] if table["forms"] else FORMS / "forms.toml"),
        read_cast(beside / table["cast"] if table["cast"] else FORMS / "cast.toml"),
        seed=recipe["seed"], per=table["per"], count=table["count"], topics=table["topics"],
    )  # fmt: skip
    return Twins(tuple(twins), twin_styles(table["roles"]), table["candidates"], Decimal(table["caliper"]))


def choose(twins: Twins, answers: Sequence[Answer], tokenizer: Tokenizer) -> None:
    """Add the check `matched` to every answer that passed all others, twin by twin."""
    passed = [a for a in answers if a.status == "accepted"]
    tokens = np.diff(tokenizer.encode_batch([a.text for a in passed])[1]).tolist()
    ids = [rewrite_id(a.request, a.key, a.text) for a in passed]
    rows = [
        Candidate(i, str(a.request.twin), str(a.request.role), "", n, a.text) for i, a, n in zip(ids, passed, tokens)
    ]
    said = {c["rewrite"]: c for c in match(rows, roles=list(twins.styles), caliper=float(twins.caliper)).checks()}
    for i, answer in zip(ids, passed):
        c = said[i]
        answer.checks.append(Check("matched", c["number"], c["limit"], c["passed"], c["detail"] or ""))


def match_lines(twins: Twins, folder: Path, seed: int, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """How alike the twins of a folder of rewrites are in length and topic (rewriters/match_report.py)."""
    say("comparing twins")
    forms = {t.id: t.form.ref for t in twins.twins}
    made = Matched(tuple(twins.styles), float(twins.caliper))
    columns = ["id", "twin", "role", "accepted", "text_tokens", "text"]
    for path in sorted(folder.glob("part-*.parquet")):
        for row in pq.read_table(path, columns=columns, filters=[("accepted", "=", True)]).to_pylist():
            text = Candidate(row["id"], row["twin"], row["role"], forms[row["twin"]], row["text_tokens"], row["text"])
            made.chosen.setdefault(row["twin"], {})[row["role"]] = text
    return [asdict(line) for line in match_report(made, seed=seed)]
