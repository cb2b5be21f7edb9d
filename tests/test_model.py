"""The decoder: pieces do not see each other, nothing sees ahead, and every choice of shape trains."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
import torch

from leaven.errors import UserError
from leaven.loader import pieces
from trainer.attention import VARLEN, Pieces, best_kind, pieces_of
from trainer.model import SIZES, Model, ModelConfig, model_config
from trainer.schedule import Schedule, whole_steps

torch.set_num_threads(1)
SHAPES = [
    {},
    {"qk_norm": True},
    {"kv_heads": 1},
    {"tie_embeddings": False},
    {"heads": 4, "kv_heads": 2, "head_width": 8},
]


def small(seed: int = 0, **changes: object) -> Model:
    config = {"layers": 2, "width": 32, "heads": 2, "kv_heads": 2, "head_width": 16, "hidden": 48} | changes
    model = Model(ModelConfig(vocab_size=50, sequence_length=24, **config), seed)  # type: ignore[arg-type]
    with torch.no_grad():  # blocks that start as the identity would prove nothing
        for weight in model.blocks.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) * 0.2)
    return model


def tokens(rows: int, length: int = 24, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(50, size=(rows, length))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_piece_gives_the_same_numbers_wherever_it_stands(shape: dict) -> None:
    model, tokens_BT = small(**shape), tokens(2)
    starts = [np.array([0, 5, 6, 20]), np.array([0, 11])]
    segments_BT, _ = pieces(starts, 24)
    packed = model.logits(model.hidden(torch.from_numpy(tokens_BT), pieces_of(segments_BT, "masked")))
    for row, borders in enumerate(starts):
        for start, end in zip(borders, [*borders[1:], 24]):
            alone_BT = torch.from_numpy(tokens_BT[row : row + 1, start:end])
            alone = model.logits(model.hidden(alone_BT, Pieces("causal")))
            torch.testing.assert_close(packed[row, start:end], alone[0], rtol=0, atol=2e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_token_sees_no_token_after_it(shape: dict) -> None:
    model, before = small(**shape), tokens(1)
    after = before.copy()
    after[0, 13:] = (after[0, 13:] + 1) % 50
    one, other = (model.hidden(torch.from_numpy(t), Pieces("causal")) for t in (before, after))
    torch.testing.assert_close(one[:, :13], other[:, :13], rtol=0, atol=0)
    assert (one[:, 13:] - other[:, 13:]).abs().max() > 1e-3


def test_weights_come_from_the_seed_alone() -> None:
    a, b, c = (dict(Model(ModelConfig(vocab_size=9, sequence_length=4), s).named_parameters()) for s in (1, 1, 2))
    assert all(torch.equal(a[n], b[n]) for n in a)
    assert not torch.equal(a["embedding.weight"], c["embedding.weight"])


@pytest.mark.parametrize("size", SIZES)
def test_counts_of_parameters_are_the_models_own(size: str) -> None:
    config = model_config({"size": size, "layers": 2}, vocab_size=300, sequence_length=8)
    model = Model(config)
    assert sum(p.numel() for p in model.parameters()) == config.parameters


def test_decimals_of_a_job_file_become_numbers_of_a_model() -> None:
    config = model_config({"size": "nano", "rope_theta": Decimal("500.0"), "norm_eps": Decimal("1e-5")}, 300, 8)
    assert (config.rope_theta, config.norm_eps) == (500.0, 1e-5) and isinstance(config.rope_theta, float)
    Model(config)


def test_micro_is_at_most_half_a_million_parameters_and_the_named_sizes_are_what_they_say() -> None:
    assert model_config({"size": "micro"}, 1_216, 128).parameters <= 500_000
    assert 15e6 < model_config({"size": "S"}, 16_016, 512).parameters < 19e6
    assert 115e6 < model_config({"size": "M"}, 50_293, 1024).parameters < 130e6


def test_loss_is_the_mean_over_loss_bearing_tokens_only() -> None:
    model, tokens_BT = small(), tokens(2)
    segments_BT, bears_BT = pieces([np.array([0, 7]), np.array([0, 3, 9])], 24)
    targets = torch.from_numpy(np.where(bears_BT, np.roll(tokens_BT, -1, 1), -100))
    described = pieces_of(segments_BT, "masked")
    total = model(torch.from_numpy(tokens_BT), targets, described)
    logp = model.logits(model.hidden(torch.from_numpy(tokens_BT), described)).log_softmax(-1)
    by_hand = -sum(
        logp[b, t, tokens_BT[b, t + 1]]
        for b in range(2)
        for t in range(23)
        if segments_BT[b, t] == segments_BT[b, t + 1]
    )
    torch.testing.assert_close(total, by_hand)
    assert bears_BT.sum() == 2 * 24 - 5


def test_unknown_sizes_and_fields_are_refused() -> None:
    for asked in ({"size": "XXL"}, {"depth": 3}, {"heads": 3, "kv_heads": 2}, {"head_width": 7}):
        with pytest.raises(UserError):
            model_config(asked, 10, 10)


def test_schedule_warms_up_holds_and_decays_to_nearly_nothing() -> None:
    rates = [Schedule(1.0, 100, 10, 30).rate(s) for s in range(100)]
    assert rates[0] == pytest.approx(1 / 11) and rates[10:70] == [1.0] * 60
    assert np.all(np.diff(rates[70:]) < 0) and 0 < rates[-1] < 0.04
    assert min(Schedule(1.0, 5, 10, 5).rate(s) for s in range(5)) > 0  # overlapping


def test_shares_of_steps_are_decimal() -> None:
    assert whole_steps(10, "0.7") == 7 and whole_steps(1000, 0.7) == 700 and whole_steps(100, 0.29) == 29


@pytest.mark.gpu
@pytest.mark.parametrize("shape", [s | {"width": 64, "head_width": 32} for s in SHAPES], ids=str)
def test_every_way_to_attend_agrees_on_a_gpu(shape: dict) -> None:
    device = torch.device("cuda")
    model, tokens_BT = small(**shape).to(device), torch.from_numpy(tokens(2)).to(device)
    segments_BT, _ = pieces([np.array([0, 5, 6, 20]), np.array([0, 11])], 24)
    exact = model.hidden(tokens_BT, pieces_of(segments_BT, "masked").to(device))
    masked = model.hidden(tokens_BT, pieces_of(segments_BT, "masked").to(device), torch.bfloat16)
    assert (masked.float() - exact).abs().max() < 0.15
    if VARLEN is not None:
        assert best_kind(device, torch.bfloat16) == "varlen"
        varlen = model.hidden(tokens_BT, pieces_of(segments_BT, "varlen").to(device), torch.bfloat16)
        assert (varlen.float() - exact).abs().max() < 0.15
