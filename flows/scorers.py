"""Which scorers does a curation run? A plain list: edit it, or name another as "module:attribute"."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filters.blocklist import Blocklist
from filters.language import Language
from filters.relevance import Relevance
from filters.statistics import Statistics

DEFAULT_SCORERS: list[Any] = [Language(), Statistics(), Blocklist()]


def with_classifiers(scorers: Sequence[Any], folders: Sequence[str | Path]) -> list[Any]:
    """`scorers` and one more for each classifier folder; raises UserError where one is missing."""
    return [*scorers, *(Relevance(folder) for folder in folders)]
