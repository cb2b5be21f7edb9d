"""Which token comes next where one is drawn? The one at a row's own number in its cumulative distribution.

    scores --temperature, top_k, top_p--> likelihoods --cumulative, in the vocabulary's order--> token at draw u

A row's numbers come from a generator of its own, one a step, so rows of a batch draw nothing from each other. The
vocabulary's order, not that of likelihood, keeps a last bit of the scores from turning more than one draw in millions.

Letters: B rows, V vocabulary, N steps, T tokens so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class Draw:
    """A logits processor of `transformers` that leaves each row one token, to be taken by greedy decoding.

    Temperature first, then the `top_k` likeliest (0: all), then of what they make up the fewest that reach `top_p`
    (Holtzman et al. 2020), the order of vLLM and `transformers`. `start` is where in a row the answer begins.
    """

    def __init__(
        self, seeds: Sequence[int], steps: int, start: int, temperature: float, top_k: int = 0, top_p: float = 1.0
    ):
        import torch

        self.temperature, self.top_k, self.top_p, self.start = temperature, top_k, top_p, start
        rows = [torch.rand(steps, generator=torch.Generator().manual_seed(s), dtype=torch.float64) for s in seeds]
        self.draws_BN = torch.stack(rows)

    def __call__(self, ids_BT: torch.Tensor, scores_BV: torch.Tensor) -> torch.Tensor:
        import torch

        likely_BV = (scores_BV.double() / self.temperature).softmax(-1)
        if self.top_k or self.top_p < 1:
            sorted_BV, order_BV = likely_BV.sort(descending=True, stable=True)
            if self.top_k:
                sorted_BV[:, self.top_k :] = 0
                sorted_BV /= sorted_BV.sum(-1, keepdim=True)
            before_BV = sorted_BV.cumsum(-1) - sorted_BV
            before_BV[:, 0] = 0  # the likeliest always stays
            sorted_BV.masked_fill_(before_BV >= self.top_p, 0)
            likely_BV = torch.zeros_like(likely_BV).scatter(1, order_BV, sorted_BV)
        upto_BV = likely_BV.cumsum(-1)
        draw_B1 = self.draws_BN[:, ids_BT.shape[1] - self.start, None].to(scores_BV.device) * upto_BV[:, -1:]
        token_B1 = torch.searchsorted(upto_BV, draw_B1, right=True).clamp_(max=upto_BV.shape[1] - 1)
        return torch.full_like(scores_BV, -torch.inf).scatter(1, token_B1, 0)
