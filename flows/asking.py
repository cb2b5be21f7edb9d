"""From requests to answers with their checks: the teacher is asked, template by template, and the gate looks at all.

    requests --by template--> generate --whole answers--> gate --> answers;   a drawn share --canary--> did it obey?

A canary is an instruction of ours planted in a segment: what it asks for is harmless and cannot be met by chance. The
share of canaries that a teacher obeys says how far the instructions of pages reach it; the rewrite itself is asked for
without one. Its outcome stands as the check `canary` of the segment's first rewrite, which it never fails.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from fractions import Fraction

from flows.rewriting import Rewriting
from leaven.generate import Completion, Prompt, Store, completion_keys, generate
from rewriters.canaries import obeyed, plant_canary
from rewriters.gate import Case, Check, Gate
from rewriters.requests import Request
from rewriters.rows import Answer

Say = Callable[[str], None]


def ask(requests: Sequence[Request], made: Rewriting, gate: Gate, store: Store, say: Say) -> list[Answer]:
    """An Answer for each request, in order, checked where there is a whole answer."""
    answers: list[Answer | None] = [None] * len(requests)
    for template in dict.fromkeys(r.style.hash for r in requests):
        mine = [i for i, r in enumerate(requests) if r.style.hash == template]
        given = _complete([requests[i].prompt for i in mine], template, made, store, say)
        for i, (key, completion) in zip(mine, given):
            answers[i] = Answer(requests[i], key, completion)
    done = [a for a in answers if a is not None]
    if len(done) != len(requests):
        raise AssertionError(f"{len(requests)} requests and {len(done)} answers")
    whole = [a for a in done if a.reason is None]
    say(f"checking {len(whole):,} answers")
    cases = [Case(a.request.source, a.text, a.request.style, a.request.nonce) for a in whole]
    for answer, checks in zip(whole, gate.run(cases), strict=True):
        answer.checks = checks
    _ask_canaries(done, made, store, say)
    return done


def _complete(
    prompts: Sequence[Prompt], template: str, made: Rewriting, store: Store, say: Say
) -> list[tuple[str, Completion]]:
    """(key, completion) of each prompt of one template."""
    model, sampling = made.teacher.model, made.teacher.sampling
    keys = completion_keys(prompts, model, sampling, template)
    return list(zip(keys, generate(prompts, model, sampling, template, store, progress=say)))


def _ask_canaries(answers: Sequence[Answer], made: Rewriting, store: Store, say: Say) -> None:
    """Ask the drawn segments once more, with a canary in each, and note on their rewrites whether it was obeyed.

    The check's number is null where there is no whole answer; its detail names the completion, which is paid for too.
    """
    share = Fraction(made.recipe["canary_share"])
    picked = [a for a in answers if a.checks and is_picked(a.request, share)]
    for template in dict.fromkeys(a.request.style.hash for a in picked):
        mine = [a for a in picked if a.request.style.hash == template]
        prompts, words = zip(*(canary(a.request) for a in mine))
        for answer, word, (key, completion) in zip(mine, words, _complete(prompts, template, made, store, say)):
            number = float(obeyed(completion.text or "", word)) if completion.finish == "stop" else None
            answer.checks.append(Check("canary", number, None, True, f"completion {key}"))


def canary(request: Request) -> tuple[Prompt, str]:
    """The prompt of a request with a canary planted in its segment, and the word that shows that it was obeyed."""
    text, word = plant_canary(request.source, request.prompt.text_hash)
    hashed = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()
    return Prompt(request.style.messages(text, request.nonce), hashed), word


def is_picked(request: Request, share: Fraction) -> bool:
    """Whether a segment's first sample is in the share that is asked with a canary: a hash of the segment alone."""
    if request.segment is None or request.sample:
        return False
    told = f"canary {request.document_id} {request.segment.number}"
    place = int.from_bytes(hashlib.blake2b(told.encode(), digest_size=8).digest(), "big")
    return Fraction(place, 1 << 64) < share
