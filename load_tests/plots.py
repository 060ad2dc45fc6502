"""Pictures of what benchmarks found, as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

Series = Mapping[str, Sequence[tuple[float, float]]]
"""(x, y) points of each line."""


def _pyplot() -> Any:
    import matplotlib as mpl  # noqa: PLC0415 (slow to import, and what measures does not need it)

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    return pyplot


def bars(path: Path, title: str, values: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    """Draw for each group the median of each name's values as a bar, with the range; the longest on top."""
    pyplot = _pyplot()
    figure, rooms = pyplot.subplots(
        len(values),
        1,
        figsize=(11, 1 + 0.45 * sum(map(len, values.values())) + len(values)),
        layout="constrained",
        squeeze=False,
        height_ratios=[len(of) + 1 for of in values.values()],
    )
    figure.suptitle(title)
    for axes, (group, of) in zip(rooms[:, 0], values.items(), strict=True):
        names = sorted(of, key=lambda name: median(of[name]))
        middles = [median(of[name]) for name in names]
        below = [middle - min(of[name]) for name, middle in zip(names, middles, strict=True)]
        above = [max(of[name]) - middle for name, middle in zip(names, middles, strict=True)]
        drawn = axes.barh(names, middles, xerr=(below, above), capsize=3, height=0.6)
        axes.bar_label(drawn, labels=[f" {middle:,.0f}" for middle in middles], padding=4)
        axes.set_xlim(0, max(map(max, of.values())) * 1.15)
        axes.set_title(group, loc="left")
        axes.grid(alpha=0.3, axis="x")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def lines(path: Path, title: str, rooms: Mapping[tuple[str, str], Series], *, log_x: bool, log_y: bool) -> None:
    """Draw one diagram for each (x label, y label), side by side, with a line for each series."""
    pyplot = _pyplot()
    figure, places = pyplot.subplots(
        1, len(rooms), figsize=(1 + 5.5 * len(rooms), 5), layout="constrained", squeeze=False
    )
    figure.suptitle(title)
    is_shared = len(rooms) > 1 and len({tuple(series) for series in rooms.values()}) == 1
    for axes, ((x_label, y_label), series) in zip(places[0], rooms.items(), strict=True):
        for name, points in series.items():
            axes.plot([x for x, _ in points], [y for _, y in points], "o-", label=name)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        if log_x:
            axes.set_xscale("log")
        if log_y:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3, which="both")
        if not is_shared:
            axes.legend(fontsize="small")
    if is_shared:
        figure.legend(*places[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
