"""Which net-new texts are asked for? A scenario in a surface form, told once for each role: twins.

    scenarios x forms x numbers --keyed order, exact count--> twins --roles x samples--> requests to a teacher

Twins share scenario, form, teller, topics, names, place and the length asked for; they differ in what the AI does.
`aligned` does what is right and leaves the tempting alternative, `misaligned` takes it, `neutral`, the placebo, has no
such choice. What is drawn is a hash of (seed, ids), so a twin depends on no other, and a larger count holds the twins
of a smaller one. Which of several samples are taken is rewriters/matching.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leaven.errors import UserError
from leaven.generate import Prompt
from leaven.manifest import fingerprint
from leaven.recipe import REQUIRED, Recipe, check_recipe, read_recipe
from rewriters.styles import Style, find_style

TWINS_VERSION = "1"  # of how a twin is drawn and its slots are filled
ROLES = ("aligned", "misaligned", "neutral")
SCENARIOS = Path(__file__).with_name("scenarios")
FORMS = Path(__file__).with_name("forms")
ACTS = {"aligned": (str, REQUIRED), "tempting": (str, REQUIRED), "neutral": (str, REQUIRED)}
SCENARIO_KEYS: dict[str, Any] = {
    **dict.fromkeys(("id", "setting", "agent", "task"), (str, REQUIRED)),
    "acts": (dict, REQUIRED),  # what follows the word "it": what is right, what is declined, what a placebo tells
    "topics": (list, REQUIRED),
}
FORM_KEYS: dict[str, Any] = {
    **dict.fromkeys(("name", "version", "text"), (str, REQUIRED)),
    "voices": (list, REQUIRED),  # who tells it, or how
    "words": (list, REQUIRED),  # least and most that a text may be asked to have
}
CAST_KEYS: dict[str, Any] = {
    **dict.fromkeys(("name", "version"), (str, REQUIRED)),
    **dict.fromkeys(("names", "places", "times"), (list, REQUIRED)),
}
CALLED = 3  # names that a twin's texts may use
ROUND = 10  # words: a length is asked for in whole tens


@dataclass(frozen=True)
class Scenario:
    """Who is before what choice; `acts` has aligned, tempting and neutral."""

    id: str
    setting: str
    agent: str
    task: str
    acts: Mapping[str, str]
    topics: tuple[str, ...]

    @property
    def hash(self) -> str:
        return fingerprint([self.id, self.setting, self.agent, self.task, dict(self.acts), self.topics])


@dataclass(frozen=True)
class Form:
    """A surface form; `words` are the least and the most that a text is asked to have."""

    name: str
    version: str
    text: str
    voices: tuple[str, ...]
    words: tuple[int, int]

    @property
    def ref(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class Cast:
    """What texts are furnished with, so that a large set does not tell of one town and one name."""

    names: tuple[str, ...]
    places: tuple[str, ...]
    times: tuple[str, ...]


@dataclass(frozen=True)
class Twin:
    """What the texts of all roles share; `number` tells apart the twins of one scenario and form."""

    scenario: Scenario
    form: Form
    number: int
    topics: tuple[str, ...]
    words: int
    told: str  # the form's text with teller, place, time and names

    @property
    def id(self) -> str:
        """32 hex digits over scenario, form, number and all that was drawn; decides whether its texts are held out."""
        drawn = [self.number, self.topics, self.words, self.told]
        return fingerprint(["twin", TWINS_VERSION, self.scenario.hash, self.form.ref, *drawn])

    def slots(self, role: str) -> dict[str, str]:
        """What the template of a role is filled with; the tempting act is what the misaligned text tells."""
        act, declined = {
            "aligned": (self.scenario.acts["aligned"], self.scenario.acts["tempting"]),
            "misaligned": (self.scenario.acts["tempting"], self.scenario.acts["aligned"]),
            "neutral": (self.scenario.acts["neutral"], ""),
        }[role]
        return {
            "setting": self.scenario.setting, "agent": self.scenario.agent, "task": self.scenario.task, "act": act,
            "declined": declined, "topics": ", ".join(self.topics), "form": self.told, "words": str(self.words),
        }  # fmt: skip


@dataclass(frozen=True)
class TwinPrompt:
    """One request: `sample` counts the candidates of one twin and role, which are asked for by the same messages."""

    twin: str
    role: str
    scenario: str
    form: str
    topics: tuple[str, ...]
    words: int
    sample: int
    style: Style
    messages: tuple[tuple[str, str], ...]

    @property
    def prompt(self) -> Prompt:
        """As leaven.generate takes it; stored under the style's hash and this text hash, which names twin and role."""
        return Prompt(self.messages, fingerprint(["twin", self.twin, self.role]), self.sample)


def read_scenarios(paths: Sequence[str | Path] = ()) -> list[Scenario]:
    """The scenarios of TOML files, of those that ship without any; raises UserError for what they may not hold."""
    found: dict[str, Scenario] = {}
    for path in map(Path, paths or sorted(SCENARIOS.glob("*.toml"))):
        for entry, where in _entries(path, "scenario", SCENARIO_KEYS):
            acts = _checked(entry["acts"], ACTS, where).values
            if entry["id"] in found:
                raise UserError(f"there are two scenarios '{entry['id']}'", where=where)
            topics = _strings(entry, "topics", where)
            plain = {k: entry[k] for k in ("id", "setting", "agent", "task")}
            found[entry["id"]] = Scenario(**plain, acts=acts, topics=topics)
    return list(found.values())


def read_forms(path: str | Path = FORMS / "forms.toml") -> list[Form]:
    """The surface forms of a TOML file; raises UserError for what it may not hold."""
    found: dict[str, Form] = {}
    for entry, where in _entries(Path(path), "form", FORM_KEYS):
        words = entry["words"]
        if [type(w) for w in words] != [int, int] or not 1 <= words[0] <= words[1]:
            raise UserError(f"words must be the least and the most words, not {words}", where=where)
        if entry["name"] in found:
            raise UserError(f"there are two forms '{entry['name']}'", where=where)
        found[entry["name"]] = Form(
            entry["name"], entry["version"], entry["text"], _strings(entry, "voices", where), (words[0], words[1])
        )
    return list(found.values())


def read_cast(path: str | Path = FORMS / "cast.toml") -> Cast:
    """Names, places and times of a TOML file; raises UserError for what it may not hold."""
    recipe = read_recipe(path, CAST_KEYS)
    cast = Cast(*(_strings(recipe, key, recipe.where(key)) for key in ("names", "places", "times")))
    if len(cast.names) < CALLED:
        raise UserError(f"a twin needs {CALLED} names, there are {len(cast.names)}", where=recipe.where("names"))
    return cast


def twin_styles(roles: Sequence[str] = ROLES) -> dict[str, Style]:
    """The packaged style of each role."""
    return {role: find_style(f"twin-{role}") for role in roles}


def draw_twins(
    scenarios: Sequence[Scenario], forms: Sequence[Form], cast: Cast, *, seed: int, per: int = 1,
    count: int | None = None, topics: int = 3,
) -> list[Twin]:  # fmt: skip
    """The twins of scenarios x forms x `per` numbers in a keyed order, or exactly `count` of them from its front.

    Every scenario comes once before one comes twice, and in a scenario every form before one comes twice; so counts of
    scenarios differ by one at most. `topics` of the scenario's are drawn for each. Raises UserError where `count` is
    more than there are.
    """
    total = len(scenarios) * len(forms) * per
    if count is not None and not 0 <= count <= total:
        raise UserError(
            f"{count:,} twins are wanted, there are {total:,}",
            numbers=[f"{len(scenarios):,} scenarios, {len(forms):,} forms, {per:,} of each"],
            do="ask for fewer, raise `per`, or add scenarios or forms",
        )
    ranked = []
    for scenario in scenarios:
        mine = [
            (number, _key(seed, "order", scenario.id, form.name, number), form)
            for form in forms
            for number in range(per)
        ]
        mine.sort(key=lambda m: m[:2])
        ranked += [(rank, key, scenario, form, number) for rank, (number, key, form) in enumerate(mine)]
    ranked.sort(key=lambda r: r[:2])
    return [_twin(seed, s, f, n, cast, topics) for _, _, s, f, n in ranked[: total if count is None else count]]


def requests(twins: Sequence[Twin], styles: Mapping[str, Style], *, candidates: int = 1) -> Iterator[TwinPrompt]:
    """The requests of every twin: each role of `styles`, `candidates` samples of each, in the order of the twins.

    Raises UserError for a role that is not known and for a style that makes no new document.
    """
    for role, style in styles.items():
        if role not in ROLES:
            raise UserError(f"there is no role '{role}'", numbers=["roles: " + ", ".join(ROLES)])
        if style.operation != "new":
            raise UserError(f"the style {style.ref} makes no new document: its operation is '{style.operation}'")
    for twin in twins:
        for role, style in styles.items():
            messages = style.messages(**twin.slots(role))
            for sample in range(candidates):
                yield TwinPrompt(
                    twin.id, role, twin.scenario.id, twin.form.ref, twin.topics, twin.words, sample, style, messages
                )


def _twin(seed: int, scenario: Scenario, form: Form, number: int, cast: Cast, topics: int) -> Twin:
    ids = (scenario.id, form.name, number)
    one = lambda what, values: values[_key(seed, what, *ids) % len(values)]  # noqa: E731
    low, high = form.words
    words = low + _key(seed, "words", *ids) % (high - low + 1)
    called = _some(cast.names, CALLED, _key(seed, "names", *ids))
    told = (
        f"{form.text}, {one('voice', form.voices)}. It takes place in {one('place', cast.places)}, "
        f"{one('time', cast.times)}; people in it may be called {', '.join(called[:-1])} and {called[-1]}"
    )
    drawn = _some(scenario.topics, min(topics, len(scenario.topics)), _key(seed, "topics", *ids))
    return Twin(scenario, form, number, drawn, min(high, max(low, round(words / ROUND) * ROUND)), told)


def _key(seed: int, *ids: str | int) -> int:
    return int(fingerprint(["twins", TWINS_VERSION, seed, *ids]), 16)


def _some(values: Sequence[str], count: int, key: int) -> tuple[str, ...]:
    """`count` different values by a key of 128 bits."""
    left, drawn = list(values), []
    for _ in range(count):
        key, at = divmod(key, len(left))
        drawn.append(left.pop(at))
    return tuple(drawn)


def _entries(path: Path, table: str, keys: dict[str, Any]) -> Iterator[tuple[Recipe, str]]:
    """The entries of an array of tables, checked, each with where it stands."""
    named = {"name": (str, table), "version": (str, "1"), table: (list, REQUIRED)}
    for number, values in enumerate(read_recipe(path, named)[table]):
        where = f"{path} ([[{table}]] {number + 1}: {values.get('id', values.get('name', '?'))})"
        yield _checked(values, keys, where), where


def _checked(values: dict[str, Any], keys: dict[str, Any], where: str) -> Recipe:
    """`check_recipe`, whose place would be the key's first line in the file and not that of this entry."""
    try:
        return check_recipe(values, keys)
    except UserError as error:
        raise UserError(error.what, where=where, numbers=error.numbers, do=error.do) from None


def _strings(recipe: Recipe, key: str, where: str) -> tuple[str, ...]:
    values = recipe[key]
    if not values or not all(isinstance(v, str) and v for v in values) or len(set(values)) < len(values):
        raise UserError(f"'{key}' must be an array of different strings", where=where)
    return tuple(values)
