"""Who may look at whom: attention that stops at the borders of pieces.

A row of T tokens holds pieces of documents; a token sees itself and the tokens before it in its own piece. Three ways
to the same numbers: `varlen` (CUDA kernel over all pieces end to end; half precision only), `masked` (scaled dot
product with a block mask; any device), `causal` (no mask; rows of one piece, as in evaluation with padding on the
right). Positions run over the row and do not restart: rotary attention depends on differences of positions alone, so
a piece gives the same numbers wherever it stands (a test holds it to that).

Not covered: FlexAttention (no CPU backward, and where it runs varlen is faster at these sizes) and cached decoding.

Shapes: B rows, T tokens, H query heads, G key-value heads, C width of a head, P pieces, N = B * T.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def _varlen() -> Callable[..., Any] | None:
    """`f(q, k, v, borders, longest)` over torch's varlen_attn, or None. Its way to say causal changed after 2.10."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    takes = inspect.signature(varlen_attn).parameters
    causal: dict[str, Any] = {"window_size": (-1, 0)} if "window_size" in takes else {"is_causal": True}
    return lambda q, k, v, borders, longest: varlen_attn(q, k, v, borders, borders, longest, longest, **causal)


VARLEN = _varlen()


@dataclass
class Pieces:
    """Where the pieces of a batch lie, in the form its kind of attention wants."""

    kind: str  # causal, masked, varlen
    mask_B1TT: Tensor | None = None
    borders_P: Tensor | None = None  # int32, first tokens of all pieces in the flattened batch, then N (repeated)

    def to(self, device: torch.device) -> Pieces:
        move = lambda x: None if x is None else x.to(device, non_blocking=True)  # noqa: E731
        return Pieces(self.kind, move(self.mask_B1TT), move(self.borders_P))


def pieces_of(segments_BT: np.ndarray, kind: str) -> Pieces:
    """Describe a batch for `attend`. `masked` becomes `causal` where every row is one piece.

    `segments_BT` numbers the piece that each token belongs to, rising within its row (as leaven.loader gives it). The
    number of borders is rounded up to a power of two with empty pieces, so that a compiled model meets few shapes.
    """
    starts_BT = np.ones(segments_BT.shape, bool)
    np.not_equal(segments_BT[:, 1:], segments_BT[:, :-1], out=starts_BT[:, 1:])
    if kind == "varlen":
        starts = np.flatnonzero(starts_BT)
        borders_P = np.full(1 << len(starts).bit_length(), segments_BT.size, np.int32)
        borders_P[: len(starts)] = starts
        return Pieces(kind, borders_P=torch.from_numpy(borders_P))
    if kind == "causal" or not starts_BT[:, 1:].any():
        return Pieces("causal")
    piece_BT = torch.from_numpy(segments_BT)
    same_BTT = piece_BT[:, :, None] == piece_BT[:, None, :]
    return Pieces("masked", mask_B1TT=same_BTT.tril_()[:, None])


def best_kind(device: torch.device, dtype: torch.dtype) -> str:
    """`varlen` on CUDA in half precision where this torch has it, `masked` elsewhere."""
    half = dtype in (torch.bfloat16, torch.float16)
    return "varlen" if device.type == "cuda" and half and VARLEN is not None else "masked"


def attend(q_BTHC: Tensor, k_BTGC: Tensor, v_BTGC: Tensor, pieces: Pieces) -> Tensor:
    """Causal attention within pieces, shape (B, T, H, C); G divides H and each key-value head serves H / G heads."""
    heads, groups = q_BTHC.shape[2], k_BTGC.shape[2]
    if groups != heads:
        k_BTGC = k_BTGC.repeat_interleave(heads // groups, dim=2)
        v_BTGC = v_BTGC.repeat_interleave(heads // groups, dim=2)
    if pieces.kind == "varlen":
        assert VARLEN is not None
        q, k, v = (x.flatten(0, 1).contiguous() for x in (q_BTHC, k_BTGC, v_BTGC))
        return VARLEN(q, k, v, pieces.borders_P, q_BTHC.shape[1]).view(q_BTHC.shape)
    q, k, v = (x.transpose(1, 2) for x in (q_BTHC, k_BTGC, v_BTGC))
    causal = pieces.mask_B1TT is None
    return F.scaled_dot_product_attention(q, k, v, attn_mask=pieces.mask_B1TT, is_causal=causal).transpose(1, 2)
