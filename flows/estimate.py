"""What would a rewriting take? Documents, segments, tokens, money and time, before a teacher is asked for anything.

    documents --conditions, share--> segments --styles--> requests --store--> those that are missing --prices--> cost

Counted: documents, segments, requests, which answers are kept already, tokens of prompts (under the recipe's tokenizer;
the teacher's own may differ). Assumed, and said: that an answer has as many tokens as its segment (a net-new one the
words that were asked for), unless answers of that style and teacher are kept, whose mean then serves, for seconds too.
`at_most` is what max_tokens allows. What a judge of the gate would take is counted in flows/estimate_judge.py.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from flows.asking import canary, is_picked
from flows.entailing import JudgedGate
from flows.estimate_judge import JudgeEstimate
from flows.gating import BuiltGate
from flows.rewriting import Rewriting
from leaven.generate import Store, completion_keys
from leaven.home import Home
from rewriters.requests import Request
from rewriters.rows import Answer


def estimate(
    made: Rewriting, gate: BuiltGate, home: Home, say: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """The counts and, per style and role, requests, kept answers, tokens in and out, price and seconds of the missing.

    Sums of tokens and money are the teacher's; `judge`, where one is asked, holds its own.
    """
    from flows.rewrite import asked_of, batches

    counts: Counter[str] = Counter()
    tallies: dict[str, Counter[str]] = defaultdict(Counter)
    learnt: dict[str, list[tuple[int, int, float]]] = defaultdict(list)  # source tokens, answer tokens, seconds
    missing: set[int] = set()  # the first 64 bits of keys: equal segments share their answer
    path = home.path / "completions" / "answers.sqlite"
    store = Store(path) if path.is_file() else None
    judge = JudgeEstimate(gate.gate, made, store) if isinstance(gate.gate, JudgedGate) else None
    try:
        for twins in made.twins.parts if made.twins else []:
            counts["twins"] += len(twins)
            _tally(made, list(made.twins.requests(twins)), store, tallies, learnt, missing, judge)  # type: ignore[union-attr]
        for number, decided in enumerate(made.selection.decide() if made.selection else []):
            say(f"part {number + 1}")
            counts["documents_considered"] += decided.table.num_rows
            counts["documents_kept"] += int(np.sum(decided.table.column("kept").to_numpy()))
            for batch in batches(asked_of(made, decided)):
                counts["documents_drawn"] += len(batch)
                counts["segments"] += sum(len(segments) for segments, _ in batch)
                _tally(made, [r for _, requests in batch for r in requests], store, tallies, learnt, missing, judge)
    finally:
        if store:
            store.close()
    styles = [_style(made, ref, tallies[ref], learnt[ref]) for ref in sorted(tallies)]
    judged = judge.styles({s["style"]: s["out_per_source_token"] for s in styles}) if judge else []
    told: dict[str, Any] = {}
    if judge and judged:
        model = judge.rubric.model
        told["judge"] = {"model": f"{model.name}@{model.revision}", **_sums(judged), "currency": judge.rubric.currency}
    return {
        "rewriting": str(made.recipe.ref), "teacher": f"{made.teacher.model.name}@{made.teacher.model.revision}",
        **counts, "canaries": sum(s["canaries"] for s in styles), **_sums(styles), "currency": made.teacher.currency,
        **told, "styles": [*styles, *judged],
    }  # fmt: skip


def _sums(styles: list[dict[str, Any]]) -> dict[str, Any]:
    whole = ("requests", "kept", "missing", "tokens_in", "tokens_out", "at_most_out")
    return {k: sum(s[k] for s in styles) for k in whole} | {
        k: float(sum(s[k] for s in styles)) for k in ("price", "at_most_price")
    }


def _tally(
    made: Rewriting, requests: list[Request], store: Store | None, tallies: dict[str, Counter[str]],
    learnt: dict[str, list[tuple[int, int, float]]], missing: set[int], judge: JudgeEstimate | None,
) -> None:  # fmt: skip
    for ref in dict.fromkeys(r.style.ref for r in requests):
        mine = [r for r in requests if r.style.ref == ref]
        style, tally = mine[0].style, tallies[ref]
        expected = [r.segment.tokens if r.segment else None for r in mine]
        prompts = [r.prompt for r in mine]
        extra = [r for r in mine if is_picked(r, Fraction(made.recipe["canary_share"]))]
        tally["requests"] += len(mine)
        tally["canaries"] += len(extra)
        prompts += [canary(r)[0] for r in extra]
        expected += [r.segment.tokens if r.segment else None for r in extra]
        keys = completion_keys(prompts, made.teacher.model, made.teacher.sampling, style.hash)
        kept = store.get(sorted(set(keys))) if store else {}
        sizes = np.diff(made.tokenizer.encode_batch(["\n".join(t for _, t in p.messages) for p in prompts])[1]).tolist()
        answered: list[Answer] = []
        for number, (key, size, tokens) in enumerate(zip(keys, sizes, expected)):
            is_rewrite = number < len(mine)  # and no canary
            tokens = _asked_for(mine[number], size) if tokens is None else tokens
            if answer := kept.get(key):
                tally["kept"] += is_rewrite
                if answer.completion_tokens is not None and is_rewrite:
                    learnt[ref].append((tokens, answer.completion_tokens, answer.seconds))
                if is_rewrite:
                    answered.append(Answer(mine[number], key, answer))
                continue
            new = (short := int(key[:16], 16)) not in missing
            missing.add(short)
            if new:
                tally["missing"] += 1
                tally["tokens_in"] += size
                tally["source_tokens"] += tokens
            if judge and is_rewrite:
                judge.see_missing(mine[number], tokens, new)
        if judge:
            judge.see_kept(answered)


def _asked_for(request: Request, size: int) -> int:
    """Tokens of the words that a prompt asks for, at its own tokens a word."""
    words = sum(len(text.split()) for _, text in request.prompt.messages)
    return round(request.words * size / max(words, 1))


def _style(made: Rewriting, ref: str, tally: Counter[str], learnt: list[tuple[int, int, float]]) -> dict[str, Any]:
    source, answered, seconds = (sum(column) for column in zip(*learnt)) if learnt else (0, 0, 0.0)
    ratio = answered / source if source else 1.0
    out = round(tally["source_tokens"] * ratio)
    most = tally["missing"] * made.teacher.sampling["max_tokens"]
    parallel = getattr(made.teacher.model, "parallel", 1)
    return {
        "style": ref, "role": "teacher", "requests": tally["requests"], "canaries": tally["canaries"],
        "kept": tally["kept"], "missing": tally["missing"],
        "tokens_in": tally["tokens_in"], "tokens_out": out, "at_most_out": most,
        "out_per_source_token": round(ratio, 4), "learnt_from": len(learnt),
        "price": float(made.teacher.price(tally["tokens_in"], out)),
        "at_most_price": float(made.teacher.price(tally["tokens_in"], most)),
        "seconds": round(tally["missing"] * seconds / len(learnt) / parallel, 1) if learnt else None,
    }  # fmt: skip
