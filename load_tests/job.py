"""The two jobs of the benchmarks, in nothing but Python's own types: what every contender scores, and when it triggers.

*Activity* (uniform and Zipf traffic): a voter's score is the sum, over the types of WEIGHTS, of weight times the count
decayed with HALF_LIFE_MS, as of log time (the append time of the record); a trigger leaves where it reaches THRESHOLD,
and the voter can trigger again once it has come down to REARM.

*Campaign*: three linear models and five campaigns (``load_tests/linear``) and a sixth, over counts of events by type,
decayed or not (what the models say of anything else is left out). Every event of a voter who has not withdrawn consent
is counted, scored by each model and held against each campaign, as of log time or of the event's own where that is
later.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

HALF_LIFE_MS: Final = 604_800_000.0
THRESHOLD: Final = 8.0
REARM: Final = 7.0
WEIGHTS: Final = {
    "social.like": 1.0,
    "social.share": 2.0,
    "social.comment": 1.5,
    "social.follow": 2.5,
    "site.page_view": 0.5,
    "donation.started": 3.0,
}
EVER: Final = "ever"
HALF_LIVES_MS: Final = {"1d": 86_400_000.0, "7d": 604_800_000.0, "30d": 2_592_000_000.0, EVER: 1e300}
GRANTED: Final = "consent.granted"
WITHDRAWN: Final = "consent.withdrawn"
ERASED: Final = "privacy.erased"
_LINEAR: Final = Path(__file__).parent / "linear"
_TAXONOMY: Final = Path(__file__).parents[1] / "configs" / "taxonomy.toml"
_DECAYED: Final = ".decayed_"
_COUNT: Final = ".count"
_ANSWERED: Final = "event.rsvp"
"""Whose count leaves out what was answered no, which contenders do not read."""
_UNITS_MS: Final = {"d": 86_400_000, "h": 3_600_000}


@dataclass(frozen=True, slots=True)
class Count:
    """One count: of a type's events, with a half-life by its name, EVER where it does not decay."""

    type: str
    half_life: str

    @property
    def feature(self) -> str:
        """Its name in a model file."""
        return f"{self.type}{_COUNT}" if self.half_life == EVER else f"{self.type}{_DECAYED}{self.half_life}"

    @classmethod
    def of(cls, feature: str) -> Count | None:
        """Return the count that a feature is; None for another feature."""
        name, decays, half_life = feature.partition(_DECAYED)
        if decays:
            return cls(name, half_life) if half_life in HALF_LIVES_MS else None
        name = feature.removesuffix(_COUNT)
        return cls(name, EVER) if name not in {feature, _ANSWERED} else None


@dataclass(frozen=True, slots=True)
class Model:
    """A linear or logistic model over counts."""

    name: str
    is_logistic: bool
    bias: float
    weights: Mapping[Count, float]
    slope: float = 1.0
    intercept: float = 0.0

    def file(self) -> bytes:
        """Return it as the file that Groundswell reads."""
        fields: dict[str, Any] = {
            "name": self.name,
            "kind": "logistic" if self.is_logistic else "linear",
            "bias": self.bias,
            "weights": {count.feature: weight for count, weight in self.weights.items()},
        }
        if (self.slope, self.intercept) != (1.0, 0.0):
            fields["calibration"] = {"slope": self.slope, "intercept": self.intercept}
        return json.dumps(fields).encode()


@dataclass(frozen=True, slots=True)
class Campaign:
    """A crossing of a model's score that triggers."""

    name: str
    model: str
    is_upward: bool
    threshold: float
    rearm: float
    cooldown_ms: int = 0

    def file(self) -> bytes:
        """Return it as the file that Groundswell reads."""
        cooldown = f'"{self.cooldown_ms // 1000}s"' if self.cooldown_ms else "0"
        lines = (
            f'name = "{self.name}"',
            f'model = "{self.model}"',
            f'direction = "{"up" if self.is_upward else "down"}"',
            f"threshold = {self.threshold!r}",
            f"rearm = {self.rearm!r}",
            f"cooldown = {cooldown}",
        )
        return "\n".join(lines).encode()


@dataclass(frozen=True, slots=True)
class Job:
    """Models and the campaigns that watch them."""

    models: tuple[Model, ...]
    campaigns: tuple[Campaign, ...]
    taxonomy: bytes = b""
    """What words and addresses stand for; empty: none is active, as where contenders have none."""

    @property
    def counts(self) -> tuple[Count, ...]:
        """The counts that the models name, each once, in the order in which they are kept."""
        return tuple(dict.fromkeys(count for model in self.models for count in model.weights))

    def document(self) -> dict[str, Any]:
        """Return it in JSON's types, with places in lists instead of names: for contenders in another language."""
        half_lives = list(HALF_LIVES_MS)
        counts = self.counts
        names = [model.name for model in self.models]
        return {
            "half_lives_ms": list(HALF_LIVES_MS.values()),
            "counts": [{"type": count.type, "half_life": half_lives.index(count.half_life)} for count in counts],
            "models": [
                {
                    "name": model.name,
                    "logistic": model.is_logistic,
                    "bias": model.bias,
                    "slope": model.slope,
                    "intercept": model.intercept,
                    "places": [counts.index(count) for count in model.weights],
                    "weights": list(model.weights.values()),
                }
                for model in self.models
            ],
            "campaigns": [
                {
                    "name": campaign.name,
                    "model": names.index(campaign.model),
                    "upward": campaign.is_upward,
                    "threshold": campaign.threshold,
                    "rearm": campaign.rearm,
                    "cooldown_ms": campaign.cooldown_ms,
                }
                for campaign in self.campaigns
            ],
        }


def activity(weights: Mapping[str, float] = WEIGHTS) -> Job:
    """Return the job of uniform and Zipf traffic as a model and a campaign."""
    model = Model("activity", False, 0.0, {Count(name, "7d"): weight for name, weight in weights.items()})
    return Job((model,), (Campaign("active_voter", "activity", True, THRESHOLD, REARM),))


def activity_document(weights: Mapping[str, float] = WEIGHTS) -> dict[str, Any]:
    """Return the same as the one decayed sum that it comes to, in JSON's types."""
    return {"weights": dict(weights), "half_life_ms": HALF_LIFE_MS, "threshold": THRESHOLD, "rearm": REARM}


def demo() -> Job:
    """Return the campaign job: linear models and campaigns, the shipped taxonomy, and a sixth campaign."""
    models = tuple(_model(json.loads(path.read_bytes())) for path in sorted((_LINEAR / "models").glob("*.json")))
    campaigns = [_campaign(tomllib.loads(path.read_text())) for path in sorted((_LINEAR / "campaigns").glob("*.toml"))]
    campaigns.append(Campaign("thank_giver", "gives_online", False, 0.02, 0.03, 30 * _UNITS_MS["d"]))
    return Job(models, tuple(campaigns), _TAXONOMY.read_bytes())


def _model(fields: Mapping[str, Any]) -> Model:
    calibration = fields.get("calibration", {"slope": 1.0, "intercept": 0.0})
    named = [(Count.of(feature), weight) for feature, weight in fields["weights"].items()]
    weights = {count: weight for count, weight in named if count is not None}
    is_logistic = fields["kind"] == "logistic"
    return Model(fields["name"], is_logistic, fields["bias"], weights, calibration["slope"], calibration["intercept"])


def _campaign(fields: Mapping[str, Any]) -> Campaign:
    cooldown = fields["cooldown"]
    cooldown_ms = int(cooldown[:-1]) * _UNITS_MS[cooldown[-1]]
    is_upward = fields["direction"] == "up"
    return Campaign(fields["name"], fields["model"], is_upward, fields["threshold"], fields["rearm"], cooldown_ms)
