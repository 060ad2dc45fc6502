"""How what people are like shows in what they do, and the ranking by somebody who knows it all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.embedded.occasions import CHANNELS, QUIET_MIX
from stream.embedded.truth import (
    HELD_OUT,
    LETTER,
    LETTER_SHIFT,
    Floats,
    Ints,
    Truth,
    chance_of_backing,
    chance_of_moving,
)
from stream.holdouts import held_out

_ZIPF_EXPONENT: Final = 1.05
# Zipf and Mandelbrot's offset: without it the first voter alone would do a tenth of everything.
_ZIPF_OFFSET: Final = 20.0
_SOCIAL_SUPPORT: Final = 0.7
_VISIT_SUPPORT: Final = 0.3


class Leanings:
    """Who does what how often, and whom the letter reaches."""

    def __init__(self, truth: Truth, names: list[str], letter_ms: int | None) -> None:
        """Order ``names`` by liveliness; ``letter_ms``: when the letter is delivered (None: never)."""
        self.truth = truth
        self.letter_ms = letter_ms
        self.held_out: NDArray[np.bool_] = np.array([held_out(LETTER, HELD_OUT, name) for name in names])
        self._even = np.full(len(names), 1 / len(names))
        self._social = _zipf(truth.activity + _SOCIAL_SUPPORT * truth.support, truth.stirring)
        self._visits = _zipf(truth.activity + _VISIT_SUPPORT * truth.support, truth.stirring)
        gifts = truth.post / truth.post.sum()
        weights = {"site.page_view": self._visits, "donation.completed": gifts}
        weights |= {name: self._social for name in QUIET_MIX if name.startswith("social.")}
        self._cumulative = {name: np.cumsum(weights.get(name, self._even)) for name in QUIET_MIX}

    def cumulative(self, name: str) -> Floats:
        """Return the distribution over voters of who it is that an occasion of QUIET_MIX comes to."""
        return self._cumulative[name]

    def persuaded(self, voters: Ints, times: Ints) -> NDArray[np.bool_]:
        """Return whether the letter has moved each of ``voters`` by each of ``times`` (ms)."""
        if self.letter_ms is None:
            return np.zeros(len(voters), np.bool_)
        reached = self.truth.persuadable & ~self.held_out
        return np.asarray(reached[voters] & (times > self.letter_ms), np.bool_)

    def scores(self, times: Ints, voters: Ints) -> Mapping[str, Floats]:
        """Return by recipe what ranks ``voters`` at ``times`` (ms) best of all: it knows what nobody can see."""
        truth = self.truth
        visits = QUIET_MIX["site.page_view"] * self._visits
        visits = visits + QUIET_MIX["message.delivered"] * self._even * truth.opens.mean(axis=1) * truth.clicks
        own = visits + sum(QUIET_MIX[name] for name in QUIET_MIX if name.startswith("social.")) * self._social
        everybody = {
            "turnout": truth.turnout,
            "gives_online": visits * truth.online,
            "gives_by_post": truth.post,
            "volunteers": visits * truth.help,
            "persuadable": chance_of_moving(truth),
            "woken": own,
            **{f"opens_{channel}": truth.opens[:, place] for place, channel in enumerate(CHANNELS)},
        }
        return {"support": self._backing(times, voters), **{name: score[voters] for name, score in everybody.items()}}

    def _backing(self, times: Ints, voters: Ints) -> Floats:
        """Return the chance of an answer of 4 or 5; before the letter, whom it will reach and move is chance, too."""
        own = self.truth.support[voters]
        backing = chance_of_backing(own + LETTER_SHIFT * self.persuaded(voters, times))
        if self.letter_ms is None:
            return backing
        chance = (1 - HELD_OUT) * self.truth.persuasion[voters]
        coming = (1 - chance) * chance_of_backing(own) + chance * chance_of_backing(own + LETTER_SHIFT)
        return np.where(times > self.letter_ms, backing, coming)


def _zipf(liveliness: Floats, stirring: Floats) -> Floats:
    """Return each voter's share of all that is done: Zipf's law over the ranks by liveliness, but for sleepers."""
    ranks = np.empty(len(liveliness), np.int64)
    ranks[np.argsort(-liveliness, kind="stable")] = np.arange(len(liveliness))
    shares = (ranks + 1 + _ZIPF_OFFSET) ** -_ZIPF_EXPONENT
    shares = np.where(stirring > 0, stirring * np.median(shares), shares)
    return np.asarray(shares / shares.sum(), np.float64)
