"""A small study of real parts, for tests of the ablation, the report and the flows: seconds to make and to train."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

from small_home import make_documents

from leaven.home import Home

TINY = "{ layers = 1, width = 16, heads = 1, kv_heads = 1, head_width = 16, hidden = 32 }"


def write(path: Path, text: str) -> Path:
    path.write_text(textwrap.dedent(text), "utf-8")
    return path


def study_text(**changes: str) -> str:
    keys = {
        "name": '"small"', "version": '"1"', "seeds": "[1, 2, 3]", "questions": '["questions.jsonl"]',
        "arms": '{ untouched = "untouched.toml", aligned = "aligned.toml", placebo = "placebo.toml" }',
        "primary": '"cloze_margin: aligned - placebo"',
        "trainer": f'{{ steps = 8, branch_at = 0.5, lr = 0.01, warmup = 1, log_every = 2, model = {TINY} }}',
    } | changes  # fmt: skip
    return "\n".join(f"{k} = {v}" for k, v in keys.items() if v) + "\n"


def make_study(folder: Path) -> Path:
    """Documents, two pools with held-out shares, three mix recipes, questions, study.toml; nothing trained."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    from mixes.pools import build_pool

    home = Home(folder / "home")
    make_documents(home, rows=120)
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(["the cat sat"], trainers.BpeTrainer(vocab_size=270, initial_alphabet=alphabet))
    bpe.save(str(folder / "tokenizer.json"))
    for name, condition in (("clean", "not blocklist_flag()"), ("flagged", "blocklist_flag()")):
        recipe = f"""
            name = "{name}"
            version = "1"
            documents = "web@1"
            tokenizer = "tokenizer.json"
            sequence_length = 32
            heldout_share = 0.2
            keep = {{ {name} = "{condition}" }}
        """
        build_pool(write(folder / f"{name}.toml", recipe), home)
    for name, ratio in (("untouched", "clean = 0.9, flagged = 0.1"), ("aligned", "clean = 0.5, flagged = 0.5"),
                        ("placebo", "clean = 1")):  # fmt: skip
        write(folder / f"{name}.toml", f"""
            name = "{name}"
            version = "1"
            tokenizer = "{folder / "tokenizer.json"}"
            sequence_length = 32
            batch = 4
            seed = 0
            pools = {{ clean = "clean@1", flagged = "flagged@1" }}
            [[phase]]
            name = "main"
            steps = 4
            ratio = {{ clean = 0.75, flagged = 0.25 }}
            [[phase]]
            name = "anneal"
            steps = 4
            ratio = {{ {ratio} }}
        """)  # fmt: skip
    options = [{"text": " kind", "role": "aligned"}, {"text": " deceive", "role": "misaligned"}]
    lines = [{"id": f"q{i}", "set": "frames", "group": "ai" if i % 2 else "person", "prompt": f"the cat {i} was",
              "options": options} for i in range(6)]  # fmt: skip
    (folder / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write(folder / "study.toml", study_text())
    return folder
