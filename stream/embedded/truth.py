"""What the electorate's people are really like: drawn once, shown only in what they do, and known to no model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.embedded.occasions import CHANNELS, ISSUES
from stream.embedded.register import AGE_BANDS, ANSWERS, LANGUAGES, WARDS

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

LETTER: Final = "letter"
"""The campaign by post whose effect is found out: it names the experiment by which voters are held out."""
HELD_OUT: Final = 0.5
"""The share of the voters that the letter is kept from."""
LETTER_SHIFT: Final = 3.0
"""By how much it moves the support of those whom it can persuade."""
_ANSWER_NOISE: Final = 0.5
_SLEEPERS: Final = 0.6
_ASLEEP: Final = 0.08
_BACKING: Final = 0.5
"""Support from which on most answers are 4 or 5."""

# What a ward, an age band or an issue that one cares about goes with, in standard deviations or so.
_WARD_LEANS: Final = np.array((1.4, -1.2, 0.3, -0.5, 1.0, -1.5, 0.6, -0.2, 1.2, -0.9, 0.0, -0.7))
_WARD_CLICKS: Final = np.array((-0.8, 1.2, 0.9, -0.9, 0.4, -0.6, 1.3, -0.3, -1.1, 0.7, 0.2, -0.8))
_AGES: Final = np.linspace(-1.4, 1.4, len(AGE_BANDS))
_ISSUE_LEANS: Final = np.array((-0.5, 0.3, 0.7, 0.4, -0.6))
_ISSUE_HELP: Final = np.array((-0.6, 0.2, 1.0, 0.4, -0.4))
_OPEN_AGES: Final = np.array((0.9, -1.0, -0.5))
_OPEN_WARDS: Final = np.array((0.5, 0.3, 0.9))
_BAND_SHARES: Final = (0.12, 0.18, 0.17, 0.17, 0.17, 0.19)
_LANGUAGE_SHARES: Final = (0.6, 0.16, 0.06, 0.04, 0.04, 0.03, 0.03, 0.02, 0.02)


@dataclass(frozen=True, slots=True)
class Truth:
    """One element for each voter."""

    wards: Ints
    bands: Ints
    languages: Ints
    issues: Ints
    """The issue that each cares about most."""
    activity: Floats
    """How lively, a standard normal number or so: busier people do more of everything that is their own."""
    stirring: Floats
    """Of those who are asleep how much they do, as a share of what a middling voter does; 0: of those who are not."""
    support: Floats
    """Above 0.5 or so they back the candidate."""
    turnout: Floats
    """The chance of voting."""
    online: Floats
    """How much more often than on average a visit of the donation page is a donation; the mean is 1."""
    post: Floats
    """How much more often than on average a gift comes by post."""
    help: Floats
    """How much more often than on average a visit of the volunteers' page is a sign-up."""
    opens: Floats
    """[voters, CHANNELS]: the chance of opening a message."""
    clicks: Floats
    """The chance of following a link in one that is open."""
    leaves: Floats
    """How much more often than on average they unsubscribe."""
    persuasion: Floats
    """The chance of being somebody whom the letter can persuade ..."""
    persuadable: NDArray[np.bool_]
    """... and who is."""
    votes: NDArray[np.bool_]
    """Who votes in the end."""


def draw_truth(seed: int, voters: int) -> Truth:
    """Draw ``voters`` people, the same from each seed."""
    chance = np.random.Generator(np.random.PCG64((seed, 7)))
    wards = chance.integers(0, WARDS, voters)
    bands = chance.choice(len(AGE_BANDS), voters, p=_BAND_SHARES)
    languages = chance.choice(len(LANGUAGES), voters, p=_LANGUAGE_SHARES)
    issues = chance.integers(0, len(ISSUES), voters)
    old, lean = _AGES[bands], _WARD_LEANS[wards]

    def own(scale: float) -> Floats:
        return scale * chance.standard_normal(voters)

    activity = own(0.9) - 0.3 * old
    persuasion = _logistic(-1.2 - 2.0 * old + 1.8 * _WARD_CLICKS[wards])
    # Those whom a letter persuades do not back the candidate yet, mostly.
    support = 0.4 + 0.9 * lean - 0.6 * old + 0.5 * _ISSUE_LEANS[issues] - 1.6 * persuasion + own(0.25)
    turnout = _logistic(0.3 + 1.5 * old + 0.35 * activity + 0.8 * _WARD_CLICKS[wards] + own(0.1))
    opens = [
        _logistic(-0.3 + 1.1 * _OPEN_AGES[c] * old + 1.2 * _OPEN_WARDS[c] * lean + 0.4 * support + own(0.25))
        for c in range(len(CHANNELS))
    ]
    stirring = _ASLEEP * np.exp(1.4 * _WARD_CLICKS[wards] - 1.0 * old + own(0.1))
    return Truth(
        wards=wards,
        bands=bands,
        languages=languages,
        issues=issues,
        activity=activity,
        stirring=np.where(chance.random(voters) < _SLEEPERS, stirring, 0.0),
        support=support,
        turnout=turnout,
        online=_more_often(0.6 * support - 0.5 * old + own(0.2)),
        post=_more_often(1.3 * old + 0.6 * support + own(0.2)),
        help=_more_often(0.8 * support + 0.2 * _ISSUE_HELP[issues] + own(0.1)),
        opens=np.stack(opens, axis=1),
        clicks=_logistic(-1.3 + 1.1 * _WARD_CLICKS[wards] + own(0.2)),
        leaves=_more_often(-1.0 * support),
        persuasion=persuasion,
        persuadable=chance.random(voters) < persuasion,
        votes=chance.random(voters) < turnout,
    )


def movable(truth: Truth) -> NDArray[np.bool_]:
    """Return whom the letter makes a supporter: who can be persuaded, and is none yet."""
    return truth.persuadable & (truth.support < _BACKING)


def chance_of_moving(truth: Truth) -> Floats:
    """Return the chance of being movable by all that can be known: what ranks voters best for the letter."""
    return truth.persuasion * (1 - chance_of_backing(truth.support))


def chance_of_backing(support: Floats) -> Floats:
    """Return the chance of an answer of 4 or 5, about: a logistic curve for a normal one."""
    return _logistic((support - _BACKING) / (_ANSWER_NOISE / 1.7))


def answers(truth: Truth, voters: Ints, persuaded: NDArray[np.bool_], chance: np.random.Generator) -> Ints:
    """Return what ``voters`` say (1 to 5) when they are asked for their support, as survey or at the door.

    ``persuaded``: by voter in ``voters``, whether the letter has moved them.
    """
    shown = truth.support[voters] + LETTER_SHIFT * persuaded + _ANSWER_NOISE * chance.standard_normal(len(voters))
    return np.clip(np.rint(3 + shown), 1, ANSWERS).astype(np.int64)


def _logistic(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))


def _more_often(x: Floats) -> Floats:
    factor = np.exp(x)
    return np.asarray(factor / factor.mean(), np.float64)
