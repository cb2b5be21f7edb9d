"""What does a model say of a text by a rubric? Structured answers, checked, and never guessed.

    text --chunks--> prompts --leaven/generate.py--> answers --JSON schema--> a number or label

A rubric is a TOML file: the prompt, the answers that it asks for, and the model. Its hash stands in every row. A
document's number is the highest of its chunks; its label is the one that stands last in the rubric's list. Where any
chunk's answer is missing or malformed the document has failed, and `judgements` says why: what an answer might have
meant is nobody's to say.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pyarrow as pa

from filters.relevance import text_chunks
from filters.scoring import FAILED, SCORED, score_rows
from leaven.errors import UserError
from leaven.generate import Completion, Model, Prompt, Store, generate
from leaven.home import Home
from leaven.manifest import fingerprint
from leaven.recipe import REQUIRED, Recipe, check_recipe, read_recipe
from schemas.tables import JUDGEMENTS

VERSION = "1"  # of the chunks, the messages and the reading of answers
KEYS: dict[str, Any] = {
    "name": (str, REQUIRED),
    "version": (str, REQUIRED),
    "endpoint": (str, REQUIRED),
    "model": (str, REQUIRED),
    "revision": (str, REQUIRED),
    "key_env": (str, ""),
    "system": (str, ""),
    "prompt": (str, REQUIRED),  # has {text} once
    "characters": (int, 8000),  # of a chunk
    "temperature": ((int, Decimal), Decimal(0)),
    "max_tokens": (int, 256),
    "seed": (int, 17),
    "structured": (bool, True),  # whether the endpoint is sent the JSON schema
    "parallel": (int, 8),
    "timeout": (int, 120),
    "parameters": (int, 0),  # of the model, for FLOPs: 2 x parameters x tokens
    "price_in": ((int, Decimal), Decimal(0)),  # of a million prompt tokens
    "price_out": ((int, Decimal), Decimal(0)),  # of a million answer tokens
    "currency": (str, "USD"),
    "answers": (dict, REQUIRED),
}
ANSWER_KEYS: dict[str, Any] = {"about": (str, REQUIRED), "labels": (list, []), "min": ((int, Decimal), None),
                               "max": ((int, Decimal), None)}  # fmt: skip
FENCE = re.compile(r"\A```(?:json)?\s*\n(.*)\n```\Z", re.DOTALL)


class Rubric:
    """A rubric as read from its file; raises UserError for one that cannot be put to a model.

    `hash` covers what decides an answer's meaning: prompt, system, answers and chunk size.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        recipe = read_recipe(path, KEYS)
        self.recipe, self.name, self.version = recipe, recipe["name"], recipe["version"]
        if recipe["prompt"].count("{text}") != 1:
            raise UserError("the prompt must hold {text} once", where=recipe.where("prompt"))
        self.answers = {name: _answer(recipe, name, said) for name, said in recipe["answers"].items()}
        if not self.answers:
            raise UserError("a rubric asks for at least one answer", where=recipe.where("answers"))
        meaning = [recipe["system"], recipe["prompt"], recipe["characters"], recipe["answers"]]
        self.hash = fingerprint(meaning)
        self.sampling = {
            "temperature": float(recipe["temperature"]),
            "max_tokens": recipe["max_tokens"],
            "seed": recipe["seed"],
        }
        self.model = Model(recipe["endpoint"], recipe["model"], recipe["revision"], recipe["key_env"],
                           recipe["parallel"], float(recipe["timeout"]))  # fmt: skip

    @property
    def parameters(self) -> int:
        return self.recipe["parameters"]

    @property
    def currency(self) -> str:
        return self.recipe["currency"]

    def price(self, tokens_in: int, tokens_out: int) -> Decimal:
        """What so many tokens cost, exact."""
        return (tokens_in * Decimal(self.recipe["price_in"]) + tokens_out * Decimal(self.recipe["price_out"])) / 10**6

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The JSON schema that an answer must meet."""
        properties = {}
        for name, said in self.answers.items():
            if said["labels"]:
                properties[name] = {"type": "string", "enum": said["labels"]}
            else:
                properties[name] = {"type": "number", "minimum": float(said["min"]), "maximum": float(said["max"])}
        return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}

    def prompt(self, chunk: str) -> Prompt:
        """The question about one chunk."""
        messages = [("system", self.recipe["system"])] if self.recipe["system"] else []
        before, _, after = self.recipe["prompt"].partition("{text}")
        text_hash = hashlib.blake2b(chunk.encode("utf-8", "replace"), digest_size=16).hexdigest()
        return Prompt((*messages, ("user", before + chunk + after)), text_hash)

    def ask(self, chunks: list[str], store: Store) -> list[Completion]:
        """An answer to each chunk, from the store where it is there."""
        form = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": self.schema}}
        extra = {"response_format": form} if self.recipe["structured"] else {}
        return generate([self.prompt(c) for c in chunks], self.model, self.sampling, self.hash, store, extra=extra)

    def read(self, completion: Completion) -> tuple[str, dict[str, Any] | None, str]:
        """(outcome, answer, detail): `ok` with the checked answer, or `malformed`, `refused`, `error` and why."""
        if completion.finish in ("refused", "error"):
            return completion.finish, None, completion.detail
        if completion.finish == "length":
            return "malformed", None, "cut off at max_tokens"
        text = (completion.text or "").strip()
        fenced = FENCE.match(text)
        try:
            answer = json.loads(fenced[1] if fenced else text, parse_constant=_no_constant)
            jsonschema.validate(answer, self.schema)
        except ValueError as error:
            return "malformed", None, f"no JSON: {error}"[:200]
        except jsonschema.ValidationError as error:
            return "malformed", None, f"{'/'.join(map(str, error.path)) or 'answer'}: {error.message}"[:200]
        return "ok", answer, ""


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _answer(recipe: Recipe, name: str, said: Any) -> dict[str, Any]:
    where = recipe.where(name, "answers")
    if not isinstance(said, dict):
        raise UserError(f"answer '{name}' must be a table", where=where)
    made = check_recipe(said, ANSWER_KEYS, recipe.path).values
    ranged = made["min"] is not None and made["max"] is not None
    if bool(made["labels"]) == ranged or not all(isinstance(x, str) for x in made["labels"]):
        raise UserError(
            f"answer '{name}' needs labels (strings, the last in the list wins), or min and max", where=where
        )
    return made


class Judge:
    """A scorer that asks a model: measures NAME_ANSWER for each answer of the rubric, and rows of `judgements`.

    `argument` is the rubric's file, or JSON with `rubric` and `home` (whose completions are kept).
    """

    tables = ("judgements",)

    def __init__(self, argument: str | Path):
        said = json.loads(str(argument)) if str(argument).startswith("{") else {"rubric": argument}
        self.rubric = Rubric(said["rubric"])
        self.home = Home(said.get("home"))
        self.name = self.rubric.name
        self.version = f"{VERSION}-{self.rubric.version}-{self.rubric.hash[:8]}"
        self.measures = tuple(f"{self.name}_{answer}" for answer in self.rubric.answers)
        model = f"{self.rubric.model.name}, revision {self.rubric.model.revision}"
        self.about = {
            f"{self.name}_{answer}": f"{said['about']} (by {model})" for answer, said in self.rubric.answers.items()
        }
        self.spent: dict[str, float] = {"prompt_tokens": 0, "completion_tokens": 0, "price": 0.0}
        self.flops = 0

    def inputs(self) -> list[dict]:
        model, sampling = self.rubric.model, {k: json.dumps(v) for k, v in self.rubric.sampling.items()}
        identity = fingerprint([model.name, model.revision, sampling])
        return [
            {"kind": "rubric", "ref": self.rubric.path.name, "fingerprint": self.rubric.hash},
            {"kind": "model", "ref": f"{model.name}@{model.revision}", "fingerprint": identity},
        ]

    def __getstate__(self) -> dict:
        return {k: v for k, v in self.__dict__.items() if k != "_store"}

    @cached_property
    def _store(self) -> Store:
        return Store(self.home.path / "completions" / "answers.sqlite")

    def score(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return self.measure(batch)[0]

    def measure(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, dict[str, pa.RecordBatch]]:
        """SCORES of a batch and a row of JUDGEMENTS for every chunk."""
        chunks = [text_chunks(text, self.rubric.recipe["characters"]) for text in batch.column("text").to_pylist()]
        asked = self.rubric.ask([chunk for of_text in chunks for chunk in of_text], self._store)
        self._count(asked)
        read = [self.rubric.read(completion) for completion in asked]
        starts = np.cumsum([0, *map(len, chunks)])
        status: list[int] = []
        values: dict[str, list[Any]] = {answer: [] for answer in self.rubric.answers}
        for first, last in itertools.pairwise(starts):
            answers = [answer for _, answer, _ in read[first:last] if answer is not None]
            whole = len(answers) == last - first
            status.append(SCORED if whole else FAILED)
            for name, said in self.rubric.answers.items():
                values[name].append(_best([a[name] for a in answers], said["labels"]) if whole else None)
        rows = {}
        for name, said in self.rubric.answers.items():
            numbers = None if said["labels"] else [np.nan if v is None else v for v in values[name]]
            rows[f"{self.name}_{name}"] = (numbers, values[name] if said["labels"] else None)
        return score_rows(self, batch, rows, status), {"judgements": self._judgements(batch, chunks, asked, read)}

    def _count(self, asked: list[Completion]) -> None:
        """What the answers cost, those from the store too: what the judging takes, not what this run paid."""
        ins, outs = (sum(getattr(c, f"{x}_tokens") or 0 for c in asked) for x in ("prompt", "completion"))
        self.spent["prompt_tokens"] += ins
        self.spent["completion_tokens"] += outs
        self.spent["price"] += float(self.rubric.price(ins, outs))
        self.flops += 2 * self.rubric.parameters * (ins + outs)

    def _judgements(self, batch: pa.RecordBatch, chunks: list, asked: list, read: list) -> pa.RecordBatch:
        names, versions, ids = (batch.column(c).to_pylist() for c in ("name", "version", "id"))
        made, number = [], 0
        for i, of_text in enumerate(chunks):
            start = 0
            for chunk_number, chunk in enumerate(of_text):
                completion, (outcome, _, detail) = asked[number], read[number]
                made.append({
                    "name": names[i], "version": versions[i], "document_id": ids[i], "scorer": self.name,
                    "scorer_version": self.version, "chunk": chunk_number, "start": start, "end": start + len(chunk),
                    "model": self.rubric.model.name, "model_revision": self.rubric.model.revision,
                    "rubric_hash": self.rubric.hash, "outcome": outcome, "answer": completion.text,
                    "detail": detail or None, "prompt_tokens": completion.prompt_tokens,
                    "completion_tokens": completion.completion_tokens,
                })  # fmt: skip
                start, number = start + len(chunk), number + 1
        return pa.RecordBatch.from_pylist(made, JUDGEMENTS)


def _best(values: list[Any], labels: list[str]) -> Any:
    return max(values, key=labels.index) if labels else max(values)
