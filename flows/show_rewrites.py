"""How a rewriting and its estimate read on a terminal."""

from __future__ import annotations

from typing import Any

from leaven.console import table

FEW = 8  # reasons that are printed; --json has all


def rewrites_text(found: dict[str, Any]) -> str:
    """What came of all requests, why rewrites were turned away, and what each style cost, by who was paid."""
    counts = found["counts"]
    rows = [["asked for", "", counts["asked"]], ["accepted", "", counts["accepted"]]]
    for status, reasons in (("rejected", counts["rejections"]), ("failed", counts["failures"])):
        rows.append([status, "", counts[status]])
        rows += [["", reason, n] for reason, n in list(reasons.items())[:FEW]]
    parts = [table(["rewrites", "first reason", "count"], rows)]
    accounts = [[op, a["rewrites"], a["replaced"], a["written"]] for op, a in counts["tokens"].items()]
    if accounts:
        parts.append(table(["operation", "accepted", "tokens replaced", "tokens written"], accounts))
    columns = ["style", "role", "requests", "accepted", "rejected", "failed", "prompt_tokens", "completion_tokens",
               "seconds", "price", "currency"]  # fmt: skip
    rows = [[entry[c] for c in columns] for entry in found["ledger"]]
    parts.append(table([c.replace("prompt_tokens", "tokens in").replace("completion_tokens", "tokens out")
                        for c in columns], rows))  # fmt: skip
    return "\n\n".join(parts)


def estimate_text(planned: dict[str, Any]) -> str:
    """What a rewriting would take."""
    told = (
        "twins",
        "documents_considered",
        "documents_kept",
        "documents_drawn",
        "segments",
        "requests",
        "canaries",
        "kept",
    )
    counts = table(["", "count"], [[k.replace("_", " "), planned[k]] for k in told if k in planned])
    columns = ["style", "role", "missing", "tokens_in", "tokens_out", "at_most_out", "price", "at_most_price",
               "seconds", "learnt_from"]  # fmt: skip
    rows = [[s[c] for c in columns] for s in planned["styles"]]
    styles = table([c.replace("_", " ") for c in columns], rows)
    said = (
        f"{planned['teacher']}: {_money(planned)}. Tokens are counted by the recipe's tokenizer. An answer is taken to "
        "be as long as its segment where none of its style and teacher is kept (learnt from 0)."
    )
    if judge := planned.get("judge"):
        said += (
            f"\n{judge['model']}, judge: {_money(judge)}. One question a check that asks it; an answer is taken to be "
            "the JSON that is asked for where none of the judge is kept."
        )
        if judge["currency"] == planned["currency"]:
            both = {k: planned[k] + judge[k] for k in ("price", "at_most_price")}
            said += f"\nTogether: {_money(both | {'currency': planned['currency']})}."
    return f"{counts}\n\n{styles}\n\n{said}"


def _money(told: dict[str, Any]) -> str:
    return f"{told['price']:,.4f} {told['currency']} expected, {told['at_most_price']:,.4f} at most"
