"""How does a model in this process answer? Any causal model that `transformers` knows, in batches, by the protocol.

    prompts --chat template--> ids --sorted by length--> left-padded batches --generate--> ids --> completions, a batch
    at a time

Greedy where the temperature is 0. Else each answer draws by numbers of its own, seeded by its key (leaven/draw.py), so
that no prompt's sample depends on which others share its batch. A batch's shape still decides the last bits of its
scores, as in any server, and so may turn a near-tie; `batch=1` leaves nothing to that. Defaults of the model's
generation_config (temperature, penalties) do not apply: sampling is what was asked for.

Not covered: `response_format`, weights in pickles, code from hubs, a model over several GPUs (serve it). A text that
spells one of the model's special tokens is read as that token, as servers do.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from leaven.draw import Draw
from leaven.errors import UserError
from leaven.generate import Arrived, Completion, Prompt, Say, own_seed
from leaven.manifest import file_sha256, fingerprint

SAMPLING = ("temperature", "top_p", "top_k", "max_tokens", "seed", "stop")
IDENTITY = (".safetensors", ".json", ".jinja", ".model", ".txt")  # files of a folder that make the model what it is


class LocalModel:
    """A model from a folder, or by its hub name from the local cache (from the network with `download`).

    `name` is its folder's, or its hub name. `revision` is what was declared for a folder, or else a hash of its files;
    of a hub name it is the commit that a declared branch, tag or commit stands for. `dtype` is a torch dtype's name or
    `auto` (as the weights are stored), `device` a torch device or `auto`, `batch` the most prompts at a time; a batch
    that the GPU has no memory for is halved.
    """

    def __init__(
        self, source: str | Path, *, name: str = "", revision: str = "", dtype: str = "auto", device: str = "auto",
        batch: int = 16, download: bool = False,
    ):  # fmt: skip
        self.source, self.declared, self.dtype, self.device = str(source), revision, dtype, device
        self.batch, self.download = batch, download
        self.name = name or (Path(source).resolve().name if Path(source).is_dir() else self.source)

    @cached_property
    def folder(self) -> Path:
        """Where its files lie; raises UserError where they are not here."""
        if Path(self.source).is_dir():
            return Path(self.source)
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

        wanted = [f"*{suffix}" for suffix in IDENTITY]
        try:
            return Path(snapshot_download(self.source, revision=self.declared or None, allow_patterns=wanted,
                                          local_files_only=not self.download))  # fmt: skip
        except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise UserError("there is no such folder, and no such model in the hub's cache", where=self.source,
                            numbers=[reason], do="give a folder, or allow the download") from None  # fmt: skip

    @cached_property
    def revision(self) -> str:
        if not Path(self.source).is_dir():
            return self.folder.name  # snapshots are named by their commit
        return self.declared or folder_revision(self.folder)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_model", "_tokenizer")}

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(self.folder, padding_side="left", local_files_only=True)
        except (OSError, ValueError) as error:
            raise self._unreadable("tokenizer", error) from None
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token  # masked, so any token will do
        return tokenizer

    @cached_property
    def _model(self) -> Any:
        import torch
        from transformers import AutoModelForCausalLM, GenerationConfig
        from transformers.utils import logging

        shown = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()  # `say` speaks for us
        device = self.device if self.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        try:
            model = AutoModelForCausalLM.from_pretrained(
                self.folder, dtype=self.dtype if self.dtype == "auto" else getattr(torch, self.dtype),
                local_files_only=True, use_safetensors=True,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            raise self._unreadable("causal model", error) from None
        finally:
            if shown:
                logging.enable_progress_bar()
        ends = model.generation_config.eos_token_id
        model.generation_config = GenerationConfig(
            eos_token_id=self._tokenizer.eos_token_id if ends is None else ends,
            bos_token_id=self._tokenizer.bos_token_id, pad_token_id=self._pad,
        )  # fmt: skip
        return model.eval().to(device)

    @property
    def _pad(self) -> int:
        pad = self._tokenizer.pad_token_id
        return 0 if pad is None else pad

    @property
    def context(self) -> int | None:
        """Tokens of prompt and answer together, where the model has a limit."""
        return getattr(self._model.config.get_text_config(), "max_position_embeddings", None)

    def _unreadable(self, what: str, error: Exception) -> UserError:
        reason = str(error).strip().partition("\n")[0][:200]
        return UserError(f"no {what} can be loaded from there", where=str(self.folder), numbers=[reason])

    def answer(
        self, asked: dict[str, Prompt], sampling: dict[str, Any], extra: dict[str, Any], arrived: Arrived, say: Say
    ) -> None:
        """Answers of a batch are told as the batch ends, longest prompts first. Raises UserError for sampling that it
        does not know, and where `max_tokens` is missing.
        """
        if unknown := sorted({*sampling, *extra} - {*SAMPLING}):
            raise UserError(f"a model in this process does not know {', '.join(unknown)}",
                            numbers=[f"it knows {', '.join(SAMPLING)}"], do="serve it, or leave that out")  # fmt: skip
        most = sampling.get("max_tokens")
        if not isinstance(most, int) or most < 1:
            raise UserError("a model in this process needs max_tokens, a whole number from 1 up")
        say(f"loading {self.name}")
        ids: dict[str, list[int]] = {}
        for key, prompt in asked.items():
            said = self._ids(prompt)
            if isinstance(said, str):
                arrived(key, Completion(None, "error", said))
            elif self.context and len(said) + most > self.context:
                detail = f"{len(said):,} tokens of prompt and {most:,} of answer are more than {self.context:,}"
                arrived(key, Completion(None, "error", detail, len(said)))
            else:
                ids[key] = said
        order = sorted(ids, key=lambda key: (-len(ids[key]), key))
        for first in range(0, len(order), self.batch):
            some = order[first : first + self.batch]
            for key, answer in zip(some, self._batch(some, [ids[key] for key in some], sampling)):
                arrived(key, answer)

    def render(self, prompt: Prompt) -> str:
        """A prompt as text: by the tokenizer's chat template, else the messages' contents with a blank line between.

        Without a template no role is named and nothing is added, so a prompt of one message is put as it stands.
        """
        if not self._tokenizer.chat_template:
            return "\n\n".join(content for _, content in prompt.messages)
        messages = [{"role": role, "content": content} for role, content in prompt.messages]
        return self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    def _ids(self, prompt: Prompt) -> list[int] | str:
        """The tokens of a prompt, or why it has none."""
        from jinja2 import TemplateError

        try:
            text = self.render(prompt)
        except TemplateError as error:
            return f"the model's chat template refuses the messages: {error}"
        whole = bool(self._tokenizer.chat_template)  # a template writes special tokens itself
        ids = self._tokenizer(text, add_special_tokens=not whole)["input_ids"]
        return ids or "the prompt has no tokens"

    def _batch(self, keys: Sequence[str], ids: Sequence[list[int]], sampling: dict[str, Any]) -> list[Completion]:
        """Completions of one batch, each with its share of the time."""
        import torch

        started = time.perf_counter()
        try:
            rows = list(self._generate(keys, ids, sampling))
        except torch.OutOfMemoryError:
            if len(ids) == 1:
                raise UserError(f"the device has no memory for a prompt of {len(ids[0]):,} tokens") from None
            half = len(ids) // 2
            torch.cuda.empty_cache()
            return self._batch(keys[:half], ids[:half], sampling) + self._batch(keys[half:], ids[half:], sampling)
        share = (time.perf_counter() - started) / len(rows)
        ends = self._model.generation_config.eos_token_id
        ends = {*ends} if isinstance(ends, list) else {ends}
        return [self._read(row, len(prompt), ends, sampling, share) for row, prompt in zip(rows, ids)]

    def _generate(self, keys: Sequence[str], ids: Sequence[list[int]], sampling: dict[str, Any]) -> Iterator[list[int]]:
        """The tokens that follow each prompt, padded at the end."""
        import torch

        longest, pad, device = max(map(len, ids)), self._pad, self._model.device
        ids_BT = torch.tensor([[pad] * (longest - len(row)) + row for row in ids], device=device)
        mask_BT = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in ids], device=device)
        more: dict[str, Any] = {}
        if sampling.get("temperature", 1) != 0:
            seeds = [own_seed(key, {"seed": 0} | sampling) or 0 for key in keys]
            likely = (
                float(sampling.get("temperature", 1)),
                int(sampling.get("top_k", 0)),
                float(sampling.get("top_p", 1)),
            )
            more["logits_processor"] = [Draw(seeds, sampling["max_tokens"], longest, *likely)]
        if stop := sampling.get("stop"):
            more |= {"stop_strings": [stop] if isinstance(stop, str) else list(stop), "tokenizer": self._tokenizer}
        with torch.inference_mode():
            out_BT = self._model.generate(input_ids=ids_BT, attention_mask=mask_BT, do_sample=False,
                                          max_new_tokens=sampling["max_tokens"], **more)  # fmt: skip
        yield from out_BT[:, longest:].tolist()

    def _read(self, row: list[int], prompt: int, ends: set, sampling: dict[str, Any], seconds: float) -> Completion:
        """An answer ends at its first end token, which counts; a row that ended otherwise is filled up with padding."""
        length = next((i + 1 for i, token in enumerate(row) if token in ends), len(row))
        if length == len(row) and row[-1] not in ends:
            while length and row[length - 1] == self._pad:
                length -= 1
        text = self._tokenizer.decode(row[:length], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        stop = sampling.get("stop") or []
        cuts = [text.find(s) for s in ([stop] if isinstance(stop, str) else stop) if s in text]
        if cuts and row[length - 1] in ends:
            length -= 1  # the stop string ended it, and the end token after it is padding
        full = length == sampling["max_tokens"] and row[-1] not in ends and not cuts
        return Completion(
            text[: min(cuts)] if cuts else text, "length" if full else "stop", "", prompt, length, seconds
        )


def folder_revision(folder: Path) -> str:
    """16 hex digits that say which model lies in a folder: a hash of its weights, tokenizer and configuration."""
    files = sorted(p for p in folder.iterdir() if p.suffix in IDENTITY)
    return fingerprint([[p.name, file_sha256(p)] for p in files])[:16]
