"""What is a teacher asked about? One request for each segment and sample, with all that its rewrite's row will say.

    documents --cut--> segments --a style for each document--> requests --prompt--> leaven/generate.py

A request knows where it came from: document and characters, or scenario and twin. Nothing here asks a model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from leaven.generate import Prompt
from leaven.tokens import Tokenizer
from rewriters.cutting import Segment, cut
from rewriters.styles import DECLARATION, Style, draw, is_drawn, nonce_of


@dataclass(frozen=True)
class Source:
    """A document of which segments are rewritten; `hash` decides whether its rewrites are held out."""

    id: str
    hash: str
    text: str


@dataclass(frozen=True)
class Request:
    """One rewrite to be asked for: about a segment of a document, or a twin with its prompt (`asked`)."""

    style: Style
    nonce: str
    source_hash: str
    sample: int = 0
    document_id: str | None = None
    segment: Segment | None = None
    scenario: str | None = None
    twin: str | None = None
    role: str | None = None
    asked: Prompt | None = None
    words: int = 0  # that the prompt asks for, where it says

    @property
    def source(self) -> str:
        """The segment's text; empty for a net-new document."""
        return self.segment.text if self.segment else ""

    @property
    def prompt(self) -> Prompt:
        """As it is sent; its answer is stored under the segment's hash, so equal segments share their answers."""
        if self.asked is not None:
            return self.asked
        assert self.segment is not None
        return Prompt(self.style.messages(self.source, self.nonce), self.segment.text_hash, self.sample)


@dataclass(frozen=True)
class Asking:
    """How documents become requests: exact weights of styles, the share of documents, samples of each segment."""

    styles: tuple[Style, ...]
    weights: tuple[Fraction, ...]
    seed: int
    segment_tokens: int
    samples: int = 1
    share: Fraction = Fraction(1)


def drawn(asking: Asking, sources: Sequence[Source]) -> list[Source]:
    """The documents of the share that is rewritten."""
    return [s for s in sources if is_drawn(asking.share, asking.seed, s.id)]


def segment_requests(
    asking: Asking, sources: Sequence[Source], tokenizer: Tokenizer
) -> Iterator[tuple[Source, list[Segment], list[Request]]]:
    """Each document with its segments and the requests about them, in order of segment and sample."""
    for source, segments in zip(sources, cut([s.text for s in sources], tokenizer, asking.segment_tokens)):
        style = asking.styles[draw(asking.weights, asking.seed, source.id)]
        requests = [
            Request(style, nonce_of(s.text, style), source.hash, sample, source.id, s)
            for s in segments
            for sample in range(asking.samples)
        ]
        yield source, segments, requests


def declared(text: str) -> str:
    """The text after a line that says that it is synthetic."""
    return f"{DECLARATION}\n\n{text}"


def rewrite_id(request: Request, completion: str, text: str) -> str:
    """BLAKE2b-128 of (document or scenario, segment, style, completion, sample, text), each length-prefixed UTF-8."""
    told = (
        request.document_id or request.twin or request.scenario or "",
        str(request.segment.number) if request.segment else "",
        request.style.hash, completion, str(request.sample), text,
    )  # fmt: skip
    made = hashlib.blake2b(digest_size=16, person=b"leaven-rewrite")
    for part in told:
        data = part.encode("utf-8", "replace")
        made.update(len(data).to_bytes(8, "big") + data)
    return made.hexdigest()
