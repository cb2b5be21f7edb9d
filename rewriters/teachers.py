"""Who rewrites? The [teacher] table of a recipe as a model to be asked, how it is sampled, and what it costs.

    [teacher]
    backend = "endpoint"                        # endpoint | transformers | vllm | sglang | serve
    model = "org/name"   revision = "2026-11"   family = "name-of-the-family"
    endpoint = "http://127.0.0.1:8000/v1"

Name, revision and sampling are a teacher's identity and stand in every row; how it is reached is not. A folder with
weights may leave its revision out: then it is their hash.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from leaven.errors import UserError
from leaven.generate import Backend, Model
from leaven.local_model import LocalModel
from leaven.recipe import REQUIRED, Recipe, check_recipe
from leaven.served import ServedModel

NUMBER = (int, Decimal)
SERVED = {"vllm": "vllm", "sglang": "sglang", "serve": "transformers"}  # backend -> program that is launched
BACKENDS = ("endpoint", "transformers", *SERVED)
KEYS: dict[str, Any] = {
    "backend": (str, "endpoint"),
    "model": (str, REQUIRED),  # as the endpoint names it, a hub name, or a folder from the recipe's
    "name": (str, ""),  # what its rows call it; default the model, or the folder's name
    "revision": (str, ""),
    "family": (str, ""),  # models of one family share traits: a student of it is warned of
    "endpoint": (str, ""),
    "key_env": (str, ""),  # environment variable that holds the API key
    "stream": (bool, False),
    "parallel": (int, 64),  # requests under way at a time
    "timeout": (NUMBER, 120),  # seconds for one answer
    "batch": (int, 16),  # prompts that a model in this process answers at a time
    "device": (str, "auto"),
    "dtype": (str, "auto"),
    "options": (dict, {}),  # of a server that is launched
    "context": (int, 8192),  # tokens, of a server that is launched
    "gpus": (int, 1),  # of this node, that share one model
    "python": (str, ""),  # interpreter of an environment that has the server; default this one
    "temperature": (NUMBER, Decimal(0)),
    "top_p": (NUMBER, None),
    "max_tokens": (int, 512),
    "seed": (int, 17),
    "parameters": (int, 0),  # of the model, for FLOPs: 2 x parameters x tokens
    "price_in": (NUMBER, Decimal(0)),  # of a million tokens of prompts
    "price_out": (NUMBER, Decimal(0)),  # of a million tokens of answers
    "currency": (str, "USD"),
}


@dataclass(frozen=True)
class Teacher:
    """A model with its sampling and prices; prices are of a million tokens."""

    model: Backend
    backend: str
    family: str
    sampling: dict[str, Any] = field(default_factory=dict)
    price_in: Decimal = Decimal(0)
    price_out: Decimal = Decimal(0)
    currency: str = "USD"
    parameters: int = 0

    @property
    def sampling_json(self) -> str:
        return json.dumps(self.sampling, sort_keys=True)

    @property
    def meaning(self) -> dict[str, Any]:
        """What decides its answers."""
        return {"model": self.model.name, "revision": self.model.revision, "family": self.family,
                "sampling": self.sampling_json}  # fmt: skip

    def price(self, tokens_in: int, tokens_out: int) -> Decimal:
        """What so many tokens cost, exact."""
        return (tokens_in * self.price_in + tokens_out * self.price_out) / 1_000_000


def read_teacher(recipe: Recipe, beside: Path, logs: Path) -> Teacher:
    """The teacher of a recipe's [teacher] table; a server that is launched writes its log under `logs`.

    Raises UserError for one that cannot be asked.
    """
    table = check_recipe(recipe["teacher"], KEYS, recipe.path)
    where = lambda key: recipe.where(key, "teacher")  # noqa: E731
    if table["backend"] not in BACKENDS:
        raise UserError(f"there is no backend '{table['backend']}'", where=where("backend"),
                        numbers=["backends: " + ", ".join(BACKENDS)])  # fmt: skip
    if (table["backend"] == "endpoint") != bool(table["endpoint"]):
        raise UserError("the backend 'endpoint', and no other, needs the address of one", where=where("endpoint"),
                        do='write endpoint = "http://127.0.0.1:8000/v1"')  # fmt: skip
    for key in ("max_tokens", "parallel", "batch", "timeout"):
        if table[key] <= 0:
            raise UserError(f"'{key}' must be above 0, not {table[key]}", where=where(key))
    folder = beside / table["model"]
    source = str(folder) if table["backend"] != "endpoint" and folder.is_dir() else table["model"]
    if not table["revision"] and source != str(folder):
        raise UserError("the teacher needs its revision: two of one name may write differently", where=where("model"),
                        do='write revision = "..." as the model\'s card or its server states it')  # fmt: skip
    sampling = {"temperature": float(table["temperature"]), "max_tokens": table["max_tokens"], "seed": table["seed"]}
    if table["top_p"] is not None:
        sampling["top_p"] = float(table["top_p"])
    return Teacher(_model(table, source, logs), table["backend"], table["family"], sampling, Decimal(table["price_in"]),
                   Decimal(table["price_out"]), table["currency"], table["parameters"])  # fmt: skip


def _model(table: Recipe, source: str, logs: Path) -> Backend:
    name, revision, timeout = table["name"], table["revision"], float(table["timeout"])
    if table["backend"] == "endpoint":
        return Model(table["endpoint"], name or table["model"], revision, table["key_env"], table["parallel"], timeout,
                     table["stream"], table["model"] if name else "")  # fmt: skip
    if table["backend"] == "transformers":
        return LocalModel(source, name=name, revision=revision, dtype=table["dtype"], device=table["device"],
                          batch=table["batch"])  # fmt: skip
    return ServedModel(
        SERVED[table["backend"]], source, logs=logs, name=name, revision=revision, context=table["context"],
        gpus=table["gpus"], options={k: str(v) if isinstance(v, Decimal) else v for k, v in table["options"].items()},
        python=table["python"] or sys.executable,
        client={"parallel": table["parallel"], "timeout": timeout, "stream": table["stream"]},
    )  # fmt: skip
