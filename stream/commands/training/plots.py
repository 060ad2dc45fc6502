"""The card's pictures, as PNG: calibration, gain or Qini curve, importance, groups."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.commands.training.judging import Bin, Group
from stream.errors import ConfigurationError, not_installed

_BLUE: Final = "#2b5d8a"
_RED: Final = "#b3392f"
_GREY: Final = "#8a8f96"
_PALE: Final = "#c9d3dd"
_DOTS: Final = 160
"""An inch."""
_WIDE: Final = (6.4, 4.4)
MOST_BARS: Final = 15
# Whatever says when it was made would make other bytes of the same picture.
_SILENT: Final = {"Software": None}

Curve = tuple[str, NDArray[np.float64]]
"""A name, and float64[k]: values at even steps from 0 to 100 % of the rows."""


def calibration_png(bins: Sequence[Bin], *, is_effect: bool) -> bytes:
    """Draw what came against what was foretold, by tenth of the scores, with 95 % intervals."""
    what = ("foretold effect", "observed effect") if is_effect else ("foretold chance", "observed share")

    def draw(axes: Any) -> None:
        predicted = [one.predicted for one in bins]
        observed = [one.observed for one in bins]
        whiskers = [1.96 * one.error for one in bins]
        low = min(*predicted, *(value - bar for value, bar in zip(observed, whiskers, strict=True)), 0.0)
        high = max(*predicted, *(value + bar for value, bar in zip(observed, whiskers, strict=True))) * 1.04
        axes.plot([low, high], [low, high], "--", color=_GREY, linewidth=1, label="as foretold")
        axes.errorbar(
            predicted, observed, yerr=whiskers, fmt="o-", color=_BLUE, capsize=3, linewidth=1.2, label="held-out voters"
        )
        axes.set(xlim=(low, high), ylim=(low, high), xlabel=what[0], ylabel=what[1])
        axes.set_title("Calibration")
        axes.legend(loc="upper left", frameon=False)

    return _png(draw)


def gain_png(curves: Sequence[Curve]) -> bytes:
    """Draw which share of the positives the best rows hold."""

    def draw(axes: Any) -> None:
        for (name, values), color in zip(curves, (_BLUE, _GREY), strict=False):
            axes.plot(np.linspace(0, 100, len(values)), 100 * values, color=color, label=name)
        axes.plot([0, 100], [0, 100], "--", color=_GREY, linewidth=1, label="drawn at random")
        axes.set(xlim=(0, 100), ylim=(0, 101), xlabel="% of the voters asked, best first", ylabel="% of the positives")
        axes.set_title("Gain")
        axes.legend(loc="lower right", frameon=False)

    return _png(draw)


def qini_png(curves: Sequence[Curve]) -> bytes:
    """Draw how many more positives it brings to treat the best rows."""

    def draw(axes: Any) -> None:
        for (name, values), color in zip(curves, (_BLUE, _GREY), strict=False):
            axes.plot(np.linspace(0, 100, len(values)), 100 * values, color=color, label=name)
        end = 100 * curves[0][1][-1]
        axes.plot([0, 100], [0, end], "--", color=_GREY, linewidth=1, label="treated at random")
        axes.axhline(0, color=_GREY, linewidth=0.6)
        axes.set(xlim=(0, 100), xlabel="% of the voters treated, best first", ylabel="more positives, % of the voters")
        axes.set_title("Qini curve")
        axes.legend(loc="center right", frameon=False)

    return _png(draw)


def importance_png(gains: Sequence[tuple[str, float]]) -> bytes:
    """Draw the share of each of the features that gained most."""
    shown = list(gains[:MOST_BARS])[::-1]

    def draw(axes: Any) -> None:
        axes.barh([name for name, _ in shown], [100 * share for _, share in shown], color=_BLUE, height=0.7)
        axes.set_xlabel("% of what all splits gained")
        axes.set_title(f"Importance: the first {len(shown)} of {len(gains)} features in use")
        axes.margins(y=0.02)

    return _png(draw, (7.6, 1.3 + 0.27 * len(shown)))


def groups_png(title: str, groups: Sequence[Group], whole: float) -> bytes:
    """Draw the AUC (not of effects, which have none: NaN), and foretold beside observed rates, of each group.

    Gaps are red, groups too small to be judged grey.
    """
    places = np.arange(len(groups))[::-1]
    names = [group.name for group in groups]
    colors = [_RED if group.gaps else _BLUE if group.judged else _GREY for group in groups]

    def rates(axes: Any) -> None:
        axes.barh(places + 0.18, [100 * group.rate for group in groups], 0.34, color=colors)
        axes.barh(places - 0.18, [100 * group.predicted for group in groups], 0.34, color=_PALE)
        # By patches of their own: the first bar may be a gap's.
        for color, name in ((_BLUE, "observed"), (_PALE, "foretold")):
            axes.barh([0], [0], color=color, label=name)
        axes.set(yticks=places, yticklabels=names)
        axes.set_ylim(-0.6, len(groups) - 0.1)
        axes.legend(frameon=False, fontsize=8, loc="best")

    def effects(axes: Any) -> None:
        rates(axes)
        axes.axvline(0, color=_GREY, linewidth=0.6)
        axes.set_xlabel("effect, points")
        axes.set_title(title, loc="left")

    def both(left: Any, right: Any) -> None:
        aucs = [0.5 if np.isnan(group.auc) else group.auc for group in groups]
        left.hlines(places, 0.5, aucs, color=colors, linewidth=1.4)
        left.scatter(aucs, places, color=colors, zorder=3)
        left.axvline(whole, color=_GREY, linestyle="--", linewidth=1)
        left.text(whole, len(groups) - 0.35, " all", color=_GREY, fontsize=8, va="bottom")
        left.set(xlabel="AUC", yticks=places, yticklabels=names)
        left.set_xlim(min(0.5, *aucs) - 0.02, 1.0)
        left.set_ylim(-0.6, len(groups) - 0.1)
        left.set_title(title, loc="left")
        rates(right)
        right.set(xlabel="rate, %", yticklabels=[])

    high = 1.3 + 0.34 * len(groups)
    return _png(effects, (6.0, high)) if np.isnan(whole) else _png(both, (7.6, high), 2)


def pyplot() -> Any:
    """Return ``matplotlib.pyplot``, which draws to files; raise ConfigurationError where it is not installed."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 (an extra, which may not be installed)
    except ImportError as error:
        raise ConfigurationError(not_installed("matplotlib", "train")) from error
    mpl.use("Agg")
    from matplotlib import pyplot as drawing  # noqa: PLC0415

    return drawing


def _png(draw: Callable[..., None], size: tuple[float, float] = _WIDE, columns: int = 1) -> bytes:
    drawing = pyplot()
    with drawing.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = drawing.subplots(1, columns, figsize=size, layout="constrained", squeeze=False)
        try:
            draw(*axes[0])
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", dpi=_DOTS, metadata=_SILENT)
        finally:
            drawing.close(figure)
    return buffer.getvalue()
