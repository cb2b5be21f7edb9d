"""One self-contained HTML page about a study, a mix or a pool: no script, no network, every number with its SQL.

The sections ask the catalog (flows/sections.py); this file chooses what the page is about, fills the template and
writes it. Text that comes from outside is escaped by the template; the page's own policy forbids scripts besides.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows import holdings, judged, rewritten, sections
from flows.arms import pool_tokenizer
from flows.tables import MEASURE, interval, signed
from leaven import __version__, catalog
from leaven.console import cell
from leaven.errors import UserError
from leaven.home import Home, parse_ref
from leaven.manifest import Manifest

TEMPLATES = Path(__file__).parent / "templates"
KINDS = {"studies": "Study", "mixes": "Mix", "pools": "Pool", "rewrites": "Rewriting"}
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]")  # HTML has no form for these


def report(
    home: Home, study: str | None = None, mix: str | None = None, out: str | Path | None = None,
    pool: str | None = None, rewrites: str | None = None,
) -> Path:  # fmt: skip
    """Write the page of a study, or of a mix, a pool or rewrites alone; its path (default reports/NAME@VERSION.html).

    Without any it is about the newest study, or where there is none the newest mix, or pool. Raises UserError where
    there is nothing to report.
    """
    from schemas.views import refresh

    subject = _subject(home, study, mix, pool, rewrites)
    if not catalog.is_current(home):
        refresh(home)
    with catalog.connect(home) as con:
        page = _page(con, home, subject)
    path = Path(out) if out else home.path / "reports" / f"{subject.ref}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}-{os.getpid()}")
    partial.write_text(_render(page), "utf-8")
    partial.replace(path)
    return path


def _subject(home: Home, study: str | None, mix: str | None, pool: str | None, rewrites: str | None) -> Manifest:
    """The manifest that the page is about."""
    if study:
        return home.find("studies", _newest(home, "studies", study))
    if mix:
        ref = _newest(home, "mixes", mix)
        seeds = [m for m in home.manifests("mixes") if m.ref == ref]
        return seeds[0] if seeds else home.find("mixes", ref)
    if pool:
        return home.find("pools", _newest(home, "pools", pool))
    if rewrites:
        return home.find("rewrites", _newest(home, "rewrites", rewrites))
    for kind in ("studies", "mixes", "pools"):
        found = [m for m in home.manifests(kind) if kind == "mixes" or not m.parts]
        found = [m for m in found if kind != "pools" or not m.extra.get("heldout")]
        if found:
            return max(found, key=lambda m: m.created)
    raise UserError(f"there is nothing to report in {home.path}: no study, mix or pool", do="leaven demo")


def _newest(home: Home, kind: str, text: str) -> str:
    """`name@version`, or the newest version of a bare name."""
    if "@" in text:
        return str(parse_ref(text))
    found = [m for m in home.manifests(kind) if m.name == text]
    return max(found, key=lambda m: m.created).ref if found else str(parse_ref(f"{text}@latest"))


def _page(con: Any, home: Home, subject: Manifest) -> dict[str, Any]:
    name, version = subject.name, subject.version
    is_study = subject.kind == "studies"
    arms: dict[str, str] = {}
    if is_study:
        arms = {arm: subject.meaning["arms"][arm]["mix"] for arm in subject.extra["arms"]}  # in the recipe's order
    mixes: dict[str, list[str]] = {}
    for arm, mix in arms.items():
        mixes.setdefault(mix, []).append(arm)
    if subject.kind == "mixes":
        mixes = {subject.ref: []}
    seed = subject.meaning["seeds"][0] if is_study else subject.extra.get("seed")
    refs = ", ".join(catalog.literal(m) for m in mixes)
    pools = [p for (p,) in con.execute(
        f"select pool from phases where mix || '@' || version in ({refs}) and planned > 0 group by pool "
        "order by min(rowid)"
    ).fetchall()] if mixes else [subject.ref] if subject.kind == "pools" else []  # fmt: skip
    if subject.kind == "rewrites":
        rewrites = [subject.ref]
    elif is_study:  # those of its corpora too, whether or not an arm reads them
        rewrites = sorted({*_used(con, "pools", pools, "rewrites"),
                           *_users(con, "documents", _used(con, "pools", pools, "documents"), "rewrites")})  # fmt: skip
    else:
        rewrites = _used(con, "pools", pools, "rewrites")
    decode = _decoder(home, pools)
    found: list[sections.Section | None] = []
    if is_study:
        found += [
            sections.contrast_section(con, name, version, list(arms)),
            sections.level_section(con, name, version),
            sections.loss_section(con, name, version, list(arms)),
        ]
    if mixes:
        found.append(holdings.mix_section(con, mixes))
    found.append(holdings.source_section(con, pools))
    found.append(rewritten.rewrite_section(con, rewrites))
    corpora = sorted({*_used(con, "pools", pools, "documents"), *_used(con, "rewrites", rewrites, "documents")})
    training = (
        "select max((counts->>'flops_per_token')::double * (counts->>'tokens')::double) from runs "
        f"where {sections.named(name, version)}"
    )
    found += [
        judged.calibration_section(con, corpora),
        judged.cascade_section(con, corpora, training if is_study else ""),
        judged.stance_section(con, corpora),
        judged.found_section(con, corpora),
    ]
    found.append(holdings.sample_section(con, mixes, seed, decode))
    if is_study:
        found.append(sections.question_section(con, name, version, decode))
    addresses = [*(("pools", p) for p in pools), *(("mixes", m) for m in mixes), (subject.kind, subject.ref)]
    addresses += [("rewrites", r) for r in rewrites if subject.kind != "rewrites"]
    addresses += [("documents", d) for d in corpora]
    found.append(holdings.output_section(con, addresses))
    return {
        "title": subject.ref, "kind": KINDS[subject.kind], "manifest": subject, "leaven": __version__,
        "made": datetime.now(UTC).isoformat(timespec="minutes"), "warnings": subject.extra.get("warnings", []),
        "cards": _cards(con, subject, mixes), "headline": _headline(con, subject) if is_study else None,
        "sections": [s for s in found if s and s.blocks],
    }  # fmt: skip


def _used(con: Any, kind: str, refs: list[str], used: str) -> list[str]:
    """Outputs of the kind `used` that those of `kind` were made of, as name@version."""
    named = ", ".join(map(catalog.literal, refs)) or "''"
    return [ref for (ref,) in con.execute(
        f"select distinct used_name || '@' || used_version as ref from uses where kind = {catalog.literal(kind)} and "
        f"used_kind = {catalog.literal(used)} and name || '@' || version in ({named}) order by ref"
    ).fetchall()]  # fmt: skip


def _users(con: Any, used: str, refs: list[str], kind: str) -> list[str]:
    """Outputs of a kind that were made of some of these, as name@version."""
    named = ", ".join(map(catalog.literal, refs)) or "''"
    return [ref for (ref,) in con.execute(
        f"select distinct name || '@' || version as ref from uses where kind = {catalog.literal(kind)} and used_kind = "
        f"{catalog.literal(used)} and used_name || '@' || used_version in ({named}) order by ref"
    ).fetchall()]  # fmt: skip


def _headline(con: Any, subject: Manifest) -> dict[str, Any] | None:
    """The contrast that the study named before it ran."""
    query = f"from contrasts where {sections.named(subject.name, subject.version)} and is_primary"
    rows = sections.records(con, query)
    if not rows:
        return None
    row = rows[0]
    return {
        "what": f"{row['a']} − {row['b']}", "measure": f"{MEASURE[row['measure']]}, {row['group']}",
        "value": signed(row["value"]), "unit": sections.UNIT[row["measure"]],
        "interval": interval(row["t_low"], row["t_high"]), "seeds": row["seeds"], "items": row["items"],
        "bootstrap": interval(row["bootstrap_low"], row["bootstrap_high"]), "query": row["query"],
    }  # fmt: skip


def _cards(con: Any, subject: Manifest, mixes: dict[str, list[str]]) -> list[tuple[str, Any, str]]:
    """(label, value, query) of the figures at the top."""
    named = sections.named(subject.name, subject.version)
    refs = ", ".join(catalog.literal(m) for m in mixes)
    asked = [
        ("sequences a run", f"select max(sequences) from mixes where mix || '@' || version in ({refs})"),
        ("tokens a run", f"select max(sequences * sequence_length) from mixes where mix || '@' || version in ({refs})"),
        ("pools", f"select count(distinct pool) from phases where mix || '@' || version in ({refs}) and planned > 0"),
    ]
    if subject.kind == "pools":
        where = f"from decisions where {named}"
        asked = [
            ("documents considered", f"select count(*) {where}"),
            ("documents kept", f"select count(*) {where} and kept"),
            ("tokens considered", f"select sum(tokens)::bigint {where}"),
            ("tokens kept", f"select sum(tokens)::bigint {where} and kept"),
        ]
    elif subject.kind == "rewrites":
        where = f"from rewrites where {named}"
        asked = [
            ("rewrites asked for", f"select count(*) {where}"),
            ("accepted", f"select count(*) {where} and accepted"),
            ("tokens accepted", f"select coalesce(sum(text_tokens), 0)::bigint {where} and accepted"),
            ("documents", f"select count(distinct document_id) {where}"),
        ]
    elif subject.kind == "studies":
        where = f"from runs where {named}"
        asked = [
            ("arms", f"select count(distinct arm) {where}"),
            ("seeds", f"select count(distinct seed) {where}"),
            ("parameters", f"select max((counts->>'parameters')::bigint) {where}"),
            *asked[1:],
            ("questions", f'select count(distinct ("set", question_id)) from questions where {named}'),
        ]
    return [(label, con.execute(query).fetchone()[0], query) for label, query in asked]


def _decoder(home: Home, pools: list[str]) -> Any:
    """Ids to text by the pools' tokenizer; a line that says so where its file is gone."""
    try:
        return pool_tokenizer(home, pools[0]).decode
    except (UserError, IndexError) as error:
        reason = str(error).splitlines()[0]
    return lambda ids: f"({len(ids)} tokens; the text cannot be shown: {reason})"


def _render(page: dict[str, Any]) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters["cell"] = cell
    environment.filters["visible"] = lambda text: CONTROL.sub("\N{SYMBOL FOR NULL}", str(text).replace("\r\n", "\n"))
    return environment.get_template("report.html.j2").render(page)
