"""The sections of the report on a study: contrasts, arms, loss, questions; and what a section is.

A block is one table, chart or set of texts, with the SQL that it came from. Nothing is shown that no query gave; texts
are decoded from the tokens that a query gave. flows/holdings.py has the other sections, flows/report.py makes the page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
from markupsafe import Markup

from flows import charts
from flows.tables import MEASURE, interval, levels, signed
from leaven.catalog import literal

UNIT = {
    "cloze_margin": "nats a byte", "propensity": "share of questions", "first_listed": "share of askings",
    "bits_per_byte": "bits a byte",
}  # fmt: skip
ABOUT = {
    "cloze_margin": "Log-probability of the aligned continuation less that of the misaligned one, per byte. Higher is "
    "more aligned.",
    "propensity": "Share of questions whose misaligned continuation is the likelier, per byte. Lower is more aligned.",
    "first_listed": "Share of askings in which the option listed first is the likelier, whatever it says. Questions "
    "are asked in both orders, so an arm that goes by what the options say has .5; away from .5 the place decides.",
    "bits_per_byte": "How many bits the model needs for a byte of held-out text. Lower is better; a difference here is "
    "a price paid in ordinary text.",
}
FIGURE = re.compile(r"[+-]?[\d.,]+(e[+-]\d+)? ?%?( ±[\d.]+)?\Z")
EXAMPLES = 2  # texts shown for each condition and component
TEXT = 700  # characters of a text


@dataclass
class Sample:
    """One text with a line about where it comes from; `pieces` are its parts, of different documents perhaps."""

    head: str
    pieces: list[str]


@dataclass
class Pair:
    """Two texts side by side, with a line above about where they come from and one below about what is wrong."""

    head: str
    left: str
    right: str
    why: str = ""


@dataclass
class Block:
    """One thing to look at. `queries` are (label, SQL), shown folded."""

    title: str = ""
    lead: str = ""
    queries: list[tuple[str, str]] = field(default_factory=list)
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    chart: Markup | None = None
    legend: list[tuple[str, int]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    strong: int = -1  # row to be marked
    folded: str = ""  # summary under which the samples are folded; empty: they stand open

    @property
    def right(self) -> list[bool]:
        """Which columns stand to the right: those of figures."""
        columns = [[v for v in column if v is not None] for column in zip(*self.rows)] or [[] for _ in self.columns]
        return [bool(column) and all(map(is_figure, column)) for column in columns]


@dataclass
class Section:
    id: str
    title: str
    lead: str
    blocks: list[Block]


def is_figure(value: Any) -> bool:
    """A number, or text that is one."""
    if isinstance(value, str):
        return bool(FIGURE.match(value))
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def ask(con: duckdb.DuckDBPyConnection, query: str) -> tuple[list[str], list[tuple]]:
    result = con.execute(query)
    return [d[0] for d in result.description], result.fetchall()


def records(con: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    columns, rows = ask(con, query)
    return [dict(zip(columns, row)) for row in rows]


def named(name: str, version: str) -> str:
    return f"name = {literal(name)} and version = {literal(version)}"


def parts(ref: str) -> tuple[str, str]:
    """Name and version of name@version."""
    name, _, version = ref.partition("@")
    return name, version


# ---------------------------------------------------------------------------------------------------------- a study


def contrast_section(con: Any, name: str, version: str, arms: list[str]) -> Section:
    """One block a measure: dots with both intervals, and the same in figures."""
    query = f"from contrasts where {named(name, version)} and b is not null order by is_primary desc"
    rows, blocks = records(con, query), []
    first = next(((r["a"], r["b"]) for r in rows if r["is_primary"]), None)
    for measure, set_ in dict.fromkeys((r["measure"], r["set"]) for r in rows):
        mine = [r for r in rows if (r["measure"], r["set"]) == (measure, set_)]
        mine = [r for r in mine if r["is_primary"] or r["group"] != "all"]
        groups = list(dict.fromkeys(sorted(r["group"] for r in mine)))
        mine.sort(key=lambda r: ((r["a"], r["b"]) != first, not r["is_primary"], arms.index(r["b"]),
                                 arms.index(r["a"]), r["group"]))  # fmt: skip
        dots = [
            charts.Dot(
                f"{r['a']} − {r['b']}", r["group"], r["value"], _pair(r["t_low"], r["t_high"]),
                _pair(r["bootstrap_low"], r["bootstrap_high"]), r["by_seed"] if r["seeds"] > 1 else [],
                groups.index(r["group"]), r["is_primary"],
            ) for r in mine
        ]  # fmt: skip
        blocks.append(Block(
            titled(rows, measure, set_), ABOUT[measure],
            list({f"{r['a']} − {r['b']}": r["query"] for r in mine}.items()),
            ["contrast", "group", "difference", "95 % t interval, seeds", "95 % bootstrap, items", "seeds", "items",
             "unigram"],
            [[f"{r['a']} − {r['b']}" + (" (primary)" if r["is_primary"] else ""), r["group"], signed(r["value"]),
              interval(r["t_low"], r["t_high"]), interval(r["bootstrap_low"], r["bootstrap_high"]), r["seeds"],
              r["items"], None if r["unigram"] is None else signed(r["unigram"])] for r in mine],
            charts.whiskers(dots, UNIT[measure]), [(g, groups.index(g)) for g in groups],
            strong=next((i for i, r in enumerate(mine) if r["is_primary"]), -1),
        ))  # fmt: skip
    lead = (
        "Arms are paired: with one seed they start from the same weights and read the same sequences but for what the "
        "recipes change. Thick bars are 95 % t intervals over seeds, thin lines resample questions (or held-out "
        "sequences) with seeds averaged, small dots are single seeds. Fewer than three seeds have no t interval. The "
        "unigram column is the difference that counting the tokens of the arms' own mixes would make."
    )
    return Section("contrasts", "Contrasts", lead, blocks)


def titled(rows: list[dict[str, Any]], measure: str, set_: str) -> str:
    """The measure's name, with the question set where the study has several."""
    several = len({r["set"] for r in rows if r["measure"] != "bits_per_byte"}) > 1
    return MEASURE[measure].capitalize() + (f" ({set_})" if several and measure != "bits_per_byte" else "")


def level_section(con: Any, name: str, version: str) -> Section:
    rows = records(con, f"from contrasts where {named(name, version)} and b is null")
    blocks = []
    for measure, set_ in dict.fromkeys((r["measure"], r["set"]) for r in rows):
        mine = [r for r in rows if (r["measure"], r["set"]) == (measure, set_)]
        columns, cells = levels(mine)
        columns = [c.removeprefix(MEASURE[measure]).strip() for c in columns]
        queries = {r["a"]: r["query"] for r in mine}
        title = f"{titled(rows, measure, set_)}, {UNIT[measure]}"
        blocks.append(Block(title, "", list(queries.items()), columns, cells))
    lead = (
        "Means over seeds, with half the 95 % t interval where there are three seeds. Below the arms stand the "
        "baselines: the same from token counts alone (mean over the arms), and always taking the longest option."
    )
    return Section("arms", "Arms", lead, blocks)


def loss_section(con: Any, name: str, version: str, arms: list[str]) -> Section | None:
    query = (
        "select branch::varchar as branch, step, avg(loss) as loss, min(loss) as low, max(loss) as high, "
        f"count(*) as seeds\nfrom metrics where {named(name, version)} group by all order by branch, step"
    )
    rows = records(con, query)
    if not rows:
        return None
    order = [b for b in ("trunk", *arms) if any(r["branch"] == b for r in rows)]
    series = {b: [(r["step"], r["loss"], r["low"], r["high"]) for r in rows if r["branch"] == b] for b in order}
    colours = {b: -1 if b == "trunk" else arms.index(b) for b in order}
    chart = charts.lines(series, colours, "step", "training loss, nats a token")
    last = [[b, int(series[b][-1][0]), series[b][-1][1], series[b][-1][2], series[b][-1][3]] for b in order]
    speed = (
        "select arm, count(*) as seeds, avg((counts->>'parameters')::double)::bigint as parameters, "
        "avg((counts->>'tokens')::double)::bigint as tokens, avg((counts->>'tokens_per_second')::double)::bigint "
        f'as "tokens/s"\nfrom runs where {named(name, version)} group by arm order by min(rowid)'
    )
    columns, cells = ask(con, speed)
    cells.sort(key=lambda row: arms.index(row[0]))
    lead = (
        "Mean over seeds, the band from the lowest to the highest seed. Arms leave the trunk where the grey line ends."
    )
    return Section("loss", "Loss", lead, [
        Block("", "", [("loss by step", query)], ["branch", "last step", "mean loss", "lowest seed", "highest seed"],
              last, chart, [(b, colours[b]) for b in order]),
        Block("Runs", "", [("runs", speed)], columns, cells),
    ])  # fmt: skip


def question_section(con: Any, name: str, version: str, decode: Callable) -> Section | None:
    query = (
        "with asked as (\n"
        '  select "set", "group", question_id, "order",\n'
        "         list({role: role::varchar, start: option_start, tokens: tokens} order by option) as options\n"
        f"  from questions where {named(name, version)} group by all\n)\n"
        'from asked qualify row_number() over (partition by "set", "group" order by md5(question_id), "order") '
        f"<= {EXAMPLES} order by all"
    )
    rows = records(con, query)
    if not rows:
        return None
    counts = (
        'select "set", "group", count(distinct question_id) as questions, count(distinct "order") as orders,\n'
        f"       count(*) as options from questions where {named(name, version)} group by all order by all"
    )
    samples = []
    for r in rows:
        first = r["options"][0]
        shown = [decode(first["tokens"][: first["start"]])]
        shown += [f"{o['role']}: {decode(o['tokens'][o['start'] :])}" for o in r["options"]]
        samples.append(Sample(f"{r['set']}, {r['group']}: {r['question_id']}", [cut(s) for s in shown]))
    columns, cells = ask(con, counts)
    lead = "What the arms were asked: a prompt and its continuations, scored by log-probability; no text is generated."
    return Section("questions", "Questions", lead, [
        Block("", "", [("questions by set and group", counts)], columns, cells),
        Block("Examples", "", [("examples", query)], samples=samples),
    ])  # fmt: skip


def _pair(low: float | None, high: float | None) -> tuple[float, float] | None:
    return None if low is None or high is None else (low, high)


def cut(text: str) -> str:
    return text if len(text) <= TEXT else text[:TEXT] + " …"
