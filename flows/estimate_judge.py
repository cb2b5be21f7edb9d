"""What would the gate's judge take? The questions about each rewrite: those that are answered already, and the rest.

    kept answers of the teacher --the gate's reading--> keys --store--> kept or missing;   missing ones --> one a check

Only styles whose checks ask are counted. Of a rewrite that is kept the very questions are known, and so whether they
are answered; one that is not whole is not judged. Of one that is missing it is assumed that it will be whole and its
questions new. A question's tokens are those of its texts under the recipe's tokenizer. An answer is taken to be the
JSON that is asked for and nothing else, unless answers of the judge are kept, whose mean then serves, for seconds too.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flows.entailing import JudgedGate, fits, question
from flows.rewriting import Rewriting
from leaven.generate import Store
from rewriters.requests import Request
from rewriters.rows import Answer


class JudgeEstimate:
    """Counts questions to a judge and asks none; `store` is None where nothing is kept yet."""

    def __init__(self, gate: JudgedGate, made: Rewriting, store: Store | None):
        self.gate, self.made, self.store, self.rubric = gate, made, store, gate.rubric
        self.tallies: dict[str, Counter[str]] = defaultdict(Counter)
        self._met: set[int] = set()  # the first 64 bits of keys: equal questions share their answer
        self._learnt: Counter[str] = Counter()
        self._seconds = 0.0

    def see_kept(self, answers: Sequence[Answer]) -> None:
        """Count the questions about answers of the teacher to one style that are kept."""
        whole = [a for a in answers if a.reason is None]
        if not whole or not self.gate.asks(style := whole[0].request.style):
            return
        texts = [(a.request.source, a.text) for a in whole]
        asked = [(key, text) for keys, text in zip(self.gate.keys(style, texts), texts) for key in keys]
        kept = self.store.get(sorted({key for key, _ in asked})) if self.store else {}
        tally, missing = self.tallies[style.ref], []
        tally["requests"] += len(asked)
        for key, text in asked:
            new = (short := int(key[:16], 16)) not in self._met
            self._met.add(short)
            if answer := kept.get(key):
                tally["kept"] += 1
                if new and answer.completion_tokens is not None:
                    self._learnt += Counter(answers=1, tokens=answer.completion_tokens)
                    self._seconds += answer.seconds
            elif new:
                missing.append(question(*text))
        tally["missing"] += len(missing)
        tally["tokens_in"] += sum(self._sizes(missing))

    def see_missing(self, request: Request, tokens: int, new: bool) -> None:
        """Count the questions about an answer that is not kept and should have so many tokens.

        `new` is false for a request that shares its answer with an earlier one.
        """
        questions = len(self.gate.asks(request.style))
        if not questions or not fits(self.rubric, question(request.source, request.source)):
            return
        tally = self.tallies[request.style.ref]
        tally["requests"] += questions
        if new:
            tally["missing"] += questions
            tally["to_come"] += questions
            tally["tokens_in"] += questions * (request.segment.tokens if request.segment else 0)
            tally["rewrite_tokens"] += questions * tokens

    def styles(self, ratios: Mapping[str, float]) -> list[dict[str, Any]]:
        """An entry a style that asks; `ratios` are a style's answer tokens for each token that was expected."""
        (blank,) = self._sizes([question("", "")])
        return [self._style(ref, self.tallies[ref], ratios.get(ref, 1.0), blank) for ref in sorted(self.tallies)]

    def _style(self, ref: str, tally: Counter[str], ratio: float, blank: int) -> dict[str, Any]:
        into = tally["tokens_in"] + tally["to_come"] * blank
        expected = into + round(tally["rewrite_tokens"] * ratio)
        at_most = into + tally["to_come"] * self.made.teacher.sampling["max_tokens"]
        learnt, missing = self._learnt["answers"], tally["missing"]
        out = round(missing * self._learnt["tokens"] / learnt) if learnt else missing * self._shortest()
        most = missing * self.rubric.sampling["max_tokens"]
        return {
            "style": ref, "role": "judge", "requests": tally["requests"], "kept": tally["kept"], "missing": missing,
            "tokens_in": expected, "tokens_out": min(out, most), "at_most_out": most, "learnt_from": learnt,
            "price": float(self.rubric.price(expected, min(out, most))),
            "at_most_price": float(self.rubric.price(at_most, most)),
            "seconds": round(missing * self._seconds / learnt / self.rubric.model.parallel, 1) if learnt else None,
        }  # fmt: skip

    def _sizes(self, texts: Sequence[str]) -> list[int]:
        """Tokens of questions as they are sent."""
        sent = ["\n".join(part for _, part in self.rubric.prompt(text).messages) for text in texts]
        return np.diff(self.made.tokenizer.encode_batch(sent)[1]).tolist() if sent else []

    def _shortest(self) -> int:
        """Tokens of an answer that is what is asked for and nothing else."""
        said = {n: a["labels"][-1] if a["labels"] else int(a["max"]) for n, a in self.rubric.answers.items()}
        return int(np.diff(self.made.tokenizer.encode_batch([json.dumps(said)])[1])[0])
