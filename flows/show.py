"""How a trace and a difference read on a terminal."""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import Any

from flows.ask import Trace
from leaven.console import table, visible

WIDTH = 108
MEASURES = 12  # of one scorer that are printed of a piece
PROMPT = 160  # characters of a prompt that are printed; all with -v
HITS = 6  # hits and tags printed of a piece; --json has all


def results_text(found: dict[str, Any]) -> str:
    """What a classifier scores: measures with their intervals, then each kind of text."""
    rows = []
    for measure, value in found.items():
        if measure != "kinds":
            rows.append([measure, *value] if isinstance(value, list) else [measure, value, None, None])
    measures = table(["measure", "value", "95 % from", "to"], rows)
    kinds = [[kind, *counted.values()] for kind, counted in found["kinds"].items()]
    return measures + "\n\n" + table(["kind", "texts", "labelled positive", "share called positive"], kinds)


def classes_text(card: dict[str, Any]) -> str:
    """How a classifier of classes does on texts that it did not see, beside one that sees form alone."""
    rows = []
    for who in ("results", "form_alone"):
        r = card[who]
        rows.append([who.replace("_", " "), r["texts"], interval(r["right"]), r["kappa"], r["macro_f1"]])
    each = [
        [name, c["texts"], interval(c["precision"]), interval(c["recall"]), c["f1"]]
        for name, c in card["results"]["classes"].items()
    ]
    kinds = [
        [kind, r["texts"], interval(r["right"]), interval(card["form_alone"]["kinds"][kind]["right"])]
        for kind, r in card["results"]["kinds"].items()
    ]
    said = table([f"tested on {card['tested_on']}", "texts", "right", "kappa", "macro F1"], rows)
    said += "\n\n" + table(["class", "texts", "precision", "recall", "F1"], each)
    return said + ("\n\n" + table(["kind", "texts", "right", "form alone, right"], kinds) if kinds else "")


def calibration_text(extra: dict[str, Any]) -> str:
    """A threshold and what it does: by split, then by kind of the test split."""

    def rows(groups: dict[str, Any]) -> list[list[Any]]:
        made = []
        for name, m in groups.items():
            removal = m["recall_at_removal"]
            made.append([name, m["texts"], m["positives"], interval(m["recall"]), interval(m["precision"]), m["f1"],
                         *(interval(removal.get(f"0.05 of {of}")) for of in ("all", "negatives"))])  # fmt: skip
        return made

    columns = ["", "texts", "positives", "recall", "precision", "F1", "5 % of all", "5 % of negatives"]
    first = f"threshold {extra['threshold']:.6g}: the largest with recall {extra['recall']} on split {extra['split']}"
    splits, kinds = (table([key, *columns[1:]], rows(extra[f"{key}s"])) for key in ("split", "kind"))
    last = "5 % of: recall where the highest 5 % of the split's texts, or of its negatives, are taken away"
    return f"{first}\n\n{splits}\n\n{kinds}\n\n{last}"


def forms_text(found: dict[str, Any]) -> str:
    """What leaving a kind out costs on it, beside what form alone reaches."""
    rows = [
        [kind, k["texts"], k["positives"], k["right_with"], k["right_without"], k["drop"],
         found["form"]["kinds"][kind]["right"]]
        for kind, k in found["kinds"].items()
    ]  # fmt: skip
    head = [["all kinds seen", found["all"]["roc_auc"], found["all"]["f1"]],
            ["form alone", found["form"]["roc_auc"], found["form"]["f1"]]]  # fmt: skip
    columns = ["kind", "texts", "positives", "right, kind seen", "right, kind left out", "drop", "right, form alone"]
    return table(["test split", "ROC AUC", "F1"], head) + "\n\n" + table(columns, rows)


def judges_text(found: dict[str, Any]) -> str:
    """What became of each judge's answers, how far it agrees with the labels, and the judges with each other."""
    rows = []
    for name, judge in found["judges"].items():
        outcomes = ", ".join(f"{n} {outcome}" for outcome, n in judge["outcomes"].items())
        rows.append([name, f"{judge['model']}, {judge['revision']}", outcomes, judge["failed"], judge["tokens"],
                     judge["price_of_1000"]])  # fmt: skip
    compared = [
        [name, "the labels", answer, a["texts"], interval(a["agreed"]), a["kappa"]]
        for name, judge in found["judges"].items()
        for answer, a in judge["agreement_with_labels"].items()
    ]
    compared += [[p["a"], p["b"], p["answer"], p["texts"], interval(p["agreed"]), p["kappa"]] for p in found["pairs"]]
    judges = table(["judge", "model", "answers", "texts failed", "tokens", "price of 1,000 texts"], rows)
    if not compared:
        return f"{judges}\n\nno agreement was measured: the labels have none of the answers, and there is one judge"
    return f"{judges}\n\n{table(['judge', 'and', 'answer', 'texts', 'agreed', 'kappa'], compared)}"


def interval(value: list[float] | None) -> str:
    """`.93 [.90, .96]`, or a dash."""
    return "-" if value is None else f"{value[0]:.3f} [{value[1]:.3f}, {value[2]:.3f}]"


def trace_text(found: Trace, full: bool = False) -> str:
    """The walk from one seat back to its pages, a block a piece; `full` prints of each rewrite its whole prompt."""
    lines = [
        f"{found.mix} seed {found.seed}, seat {found.seat:,}: step {found.step:,} of training, phase {found.phase}",
        f"  component {found.component} = row {found.pool_row:,} of pool {found.pool}, epoch {found.epoch},"
        f" {found.loss_tokens} tokens bear loss",
        *(f"  kept by {c['condition']}: {c['sql']}" for c in found.conditions),
    ]
    for piece in found.pieces:
        document = piece.document or {}
        last = piece.first_token + piece.tokens - 1
        lines += [
            "",
            f"tokens {piece.first_token}-{last}: {piece.item_kind} {piece.item_id}, from its token {piece.doc_offset}",
        ]
        if document:
            page = f"{document.get('url') or '-'}  ({document['source']}, {document['locator']})"
            lines.append(f"  page    {visible(page)}")
        lines += _wrapped("  scores  ", _scores(piece.scores))
        hits = [f"{h['surface']} ({h['term']}, {h['category']})" for h in piece.hits[:HITS]]
        more = f" and {len(piece.hits) - HITS} more" if len(piece.hits) > HITS else ""
        lines += _wrapped("  hits    ", (", ".join(hits) or "none") + more)
        if piece.tags:
            shown = [f"{t['tag']} (token {t['token']}, before character {t['char']})" for t in piece.tags[:HITS]]
            more = f" and {len(piece.tags) - HITS} more" if len(piece.tags) > HITS else ""
            lines += _wrapped("  tags    ", ", ".join(shown) + more)
        lines += _wrapped("  text    ", " ".join(piece.text.split()))
        for rewrite in piece.rewrites:
            lines += _rewrite(rewrite, piece.item_kind == "rewrite", full)
    return "\n".join(lines)


def _rewrite(r: dict[str, Any], whole: bool, full: bool) -> list[str]:
    """One rewrite of a piece: what it wrote, its teacher and prompt, every check of it, what stood there before."""
    first, last = r["first_token"], r["first_token"] + r["tokens"] - 1
    place = "" if whole else f" of tokens {first}-{last}"
    family = f", family {r['teacher_family']}" if r["teacher_family"] else ""
    lines = _wrapped("  rewrite ", f"{r['rewrite']}{place}: {r['operation']} by style {r['style']} ({r['rewrites']})")
    lines += _wrapped("  teacher ", f"{r['teacher']}, revision {r['teacher_revision'] or '-'}{family}")
    if "rewrite" not in r["gone"]:
        said = f"sample {r['sample']}, {r['sampling']}, finish {r['finish']}, completion {r['completion']}"
        said += f", prompt {r['prompt_hash']}" + (f", scenario {r['scenario']}, {r['role']}" if r["scenario"] else "")
        lines += _wrapped("  asked   ", said)
    if prompt := r["prompt"]:
        text = f"{prompt['system']}\n\n{prompt['prompt']}".strip()
        lines += _wrapped("  prompt  ", f"template {prompt['hash']}: " + ("" if full else _cut(text)))
        lines += [f"    | {visible(line)}" for line in text.splitlines()] if full else []
    if r["checks"]:
        lines += _wrapped("  checks  ", ", ".join(map(_check, r["checks"])))
    if r["source_text"] is not None:
        lines += _wrapped("  segment ", " ".join(r["source_text"].split()))
    return lines + (_wrapped("  gone    ", "its " + ", its ".join(r["gone"])) if r["gone"] else [])


def _check(check: dict[str, Any]) -> str:
    number, limit = (None if check[k] is None else f"{check[k]:.4g}" for k in ("number", "limit"))
    said = f" ({check['detail']})" if check["detail"] else ""
    measured = f" {number}" if number is not None else ""
    bound = f" (limit {limit})" if limit is not None else ""
    return f"{check['check']}{measured}{bound} {'passed' if check['passed'] else 'failed'}{said}"


def _cut(text: str) -> str:
    """The first words of a text on one line."""
    return textwrap.shorten(text, PROMPT, placeholder=" ...")


def diff_text(found: dict[str, Any]) -> str:
    """What differs between two outputs, by part of the manifest, then in their contents."""
    if found["same"]:
        return f"{found['a']} and {found['b']} are the same"
    lines = [f"{found['kind']}: {found['a']} -> {found['b']}"]
    for part in ("meaning", "inputs", "stages", "counts"):
        lines += [f"  {part}: {line}" for line in found[part]]
    if found["rows"]:
        lines += ["", table(found["columns"], found["rows"])]
    return "\n".join(lines)


def _scores(scores: list[dict[str, Any]]) -> str:
    """The measures of scorers that have few, then how many of each that has many; --json has all."""
    of = Counter(s["scorer"] for s in scores)
    shown = [f"{s['measure']} {_value(s)}" for s in scores if of[s["scorer"]] <= MEASURES]
    return ", ".join([*shown, *(f"{n} of {scorer}" for scorer, n in of.items() if n > MEASURES)]) or "none"


def _value(score: dict[str, Any]) -> str:
    if score["status"] != "scored":
        return str(score["status"])
    number = None if score["number"] is None else f"{score['number']:.4g}"
    return " ".join(str(v) for v in (score["label"], number) if v is not None)


def _wrapped(label: str, text: str) -> list[str]:
    return textwrap.wrap(visible(text), WIDTH, initial_indent=label, subsequent_indent=" " * len(label)) or [label]
