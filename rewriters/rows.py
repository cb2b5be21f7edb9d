"""What becomes of a request? Its row of `rewrites` and the rows of its checks, whether there is a whole answer or not.

    request + completion + what the gate says --> accepted | rejected | failed, with the first reason

Every request is one row: accepted + rejected + failed = asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from leaven.generate import Completion
from leaven.tokens import Tokenizer
from rewriters.gate import Check
from rewriters.requests import Request, declared, rewrite_id
from rewriters.teachers import Teacher
from schemas.tables import CHECKS, REWRITES

ROWS_VERSION = "1"
REASONS = {"length": "cut_off", "refused": "refused", "error": "no_answer"}  # of an answer that is none


@dataclass
class Answer:
    """One request with what came of it; `checks` stay empty where there is no whole answer."""

    request: Request
    key: str  # of the completion
    completion: Completion
    checks: list[Check] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What the teacher wrote, without white space around it; empty where it wrote nothing whole."""
        return (self.completion.text or "").strip() if self.completion.finish == "stop" else ""

    @property
    def reason(self) -> str | None:
        """Why it cannot be used as it is, before any check."""
        return REASONS.get(self.completion.finish) or (None if self.text else "empty")

    @property
    def failed(self) -> list[str]:
        return [c.name for c in self.checks if not c.passed]

    @property
    def status(self) -> str:
        return "failed" if self.reason else "rejected" if self.failed else "accepted"


def rewrite_rows(
    answers: Sequence[Answer], teacher: Teacher, tokenizer: Tokenizer, named: dict[str, str], prefixed: bool
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """(REWRITES, CHECKS) of answers, in their order; `prefixed` puts the declaration before every text."""
    texts = [declared(a.text) if prefixed and a.text else a.text for a in answers]
    counts = np.diff(tokenizer.encode_batch(texts)[1]).tolist()
    rows: list[dict[str, Any]] = []
    checks: list[dict[str, Any]] = []
    for answer, text, tokens in zip(answers, texts, counts):
        request, completion, segment = answer.request, answer.completion, answer.request.segment
        identity = rewrite_id(request, answer.key, text)
        data = text.encode("utf-8", "replace")
        rows.append(named | {
            "id": identity, "document_id": request.document_id, "segment": segment.number if segment else None,
            "start": segment.start if segment else None, "end": segment.end if segment else None,
            "operation": request.style.operation, "style": request.style.ref, "prompt_hash": request.style.hash,
            "teacher": teacher.model.name, "teacher_revision": teacher.model.revision,
            "teacher_family": teacher.family, "sampling": teacher.sampling_json, "sample": request.sample,
            "completion": answer.key, "finish": completion.finish, "status": answer.status,
            "accepted": answer.status == "accepted", "reason": answer.reason or next(iter(answer.failed), None),
            "failed": answer.failed, "detail": completion.detail or None, "scenario": request.scenario,
            "twin": request.twin, "role": request.role, "declared": bool(prefixed and answer.text),
            "source_tokens": segment.tokens if segment else 0, "text_tokens": tokens,
            "prompt_tokens": completion.prompt_tokens, "completion_tokens": completion.completion_tokens,
            "source_hash": request.source_hash, "text_hash": hashlib.blake2b(data, digest_size=16).hexdigest(),
            "chars": len(text), "bytes": len(data), "text": text,
        })  # fmt: skip
        checks += [
            named | {"rewrite": identity, "check": c.name, "number": c.number, "limit": c.limit, "passed": c.passed,
                     "detail": c.detail or None}
            for c in answer.checks
        ]  # fmt: skip
    return pa.RecordBatch.from_pylist(rows, REWRITES), pa.RecordBatch.from_pylist(checks, CHECKS)
