"""What llama.cpp draws tokens with, in Chat and in the server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Drawn(Protocol):
    """How freely tokens are drawn; at temperature 0 it's always the likeliest."""

    @property
    def temperature(self) -> float: ...
    @property
    def top_k(self) -> int: ...
    @property
    def top_p(self) -> float: ...
    @property
    def min_p(self) -> float: ...


def chain(api: Any, first: Sequence[Any], drawn: Drawn, seed: int) -> Any:
    """A chain of llama.cpp's samplers; whoever makes it frees it.

    Args:
        first: samplers that come before those of `drawn`, such as penalties.
        seed: counts where the temperature is above 0.
    """
    made = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())
    last = [api.llama_sampler_init_greedy()] if drawn.temperature <= 0 else [
        api.llama_sampler_init_top_k(drawn.top_k), api.llama_sampler_init_top_p(drawn.top_p, 1),
        api.llama_sampler_init_min_p(drawn.min_p, 1), api.llama_sampler_init_temp(drawn.temperature),
        api.llama_sampler_init_dist(seed)]
    for part in (*first, *last):
        api.llama_sampler_chain_add(made, part)
    return made
