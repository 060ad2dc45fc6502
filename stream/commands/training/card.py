"""The card of a model: one page that says what it foretells, how well, for whom not, and what it was made of."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any, Final

import orjson

from stream.commands.training import plots
from stream.commands.training.fitting import Fitted
from stream.commands.training.judgement import GROUPS, Judgement
from stream.commands.training.judging import Group
from stream.commands.training.recipes import Recipe

PAGE: Final = "card.html"
"""The name of the card's page."""
_STYLE: Final = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; color: #1d232a; background: #fff;
  max-width: 62rem; margin: 2.5rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; }
p { margin: .4rem 0; max-width: 48rem; } .quiet { color: #5b6570; }
.figures { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.4rem 0; }
.figure { border: 1px solid #d9dfe5; border-radius: .5rem; padding: .7rem 1rem; min-width: 8.5rem; }
.figure b { display: block; font-size: 1.45rem; font-weight: 600; } .figure span { color: #5b6570; font-size: .85rem; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; align-items: start; }
img { max-width: 100%; height: auto; } .wide img { max-width: 46rem; width: 100%; }
table { border-collapse: collapse; margin: .6rem 0; font-size: .9rem; }
th, td { text-align: right; padding: .25rem .8rem; border-bottom: 1px solid #e6eaee; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: .2rem; } th { font-weight: 600; color: #5b6570; }
tr.gap td { background: #fbeceb; } tr.few td { color: #8a8f96; } .gap b { color: #b3392f; font-weight: 600; }
pre { background: #f5f7f9; border-radius: .5rem; padding: .9rem 1.1rem; overflow-x: auto; font-size: .82rem; }
code { font-size: .88em; } @media (max-width: 46rem) { .pair { grid-template-columns: 1fr; } }
"""


_JUDGES: Final = {
    "voter": "voters whom neither fitting nor calibration saw",
    "time": "moments after all that fitting and calibration saw, of the same voters mostly",
}
"""By a recipe's split."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a card is about."""

    recipe: Recipe
    fitted: Fitted
    judgement: Judgement
    meta: Mapping[str, Any]
    """What the data set says of itself."""
    sha256: str
    """Of the model file."""
    model_bytes: int
    command: str


def files(made: Made) -> dict[str, bytes]:
    """Return all files of the card by name: pictures, figures for programs to read, and the page."""
    images = pictures(made)
    told = orjson.dumps(figures(made), option=orjson.OPT_INDENT_2) + b"\n"
    return {**images, "figures.json": told, PAGE: html(made, images).encode()}


def pictures(made: Made) -> dict[str, bytes]:
    """Return the card's PNGs by file name."""
    found = made.judgement
    is_effect = found.qini is not None
    drawn = {"calibration.png": plots.calibration_png(found.bins, is_effect=is_effect)}
    if found.qini is not None:
        drawn["qini.png"] = plots.qini_png([("this model", found.qini)])
    else:
        drawn["gain.png"] = plots.gain_png([("this model", found.gain)])
    drawn["importance.png"] = plots.importance_png(made.fitted.gains)
    for what, groups in found.groups.items():
        if groups:
            drawn[f"{what.replace(' ', '_')}.png"] = plots.groups_png(f"By {what}", groups, found.auc)
    return drawn


def figures(made: Made) -> dict[str, Any]:
    """Return the card's figures for programs to read."""
    found, meta = made.judgement, made.meta
    return {
        "name": made.recipe.name,
        "sha256": made.sha256,
        "label": made.recipe.label,
        "begin_ms": meta["begin_ms"],
        "end_ms": meta["end_ms"],
        "counts": {
            part: {"rows": of.rows, "voters": of.voters, "positives": of.positives, "rate": of.rate}
            for part, of in found.counts.items()
        },
        "auc": _or_none(found.auc),
        "auc_error": _or_none(found.auc_error),
        "log_loss": _or_none(found.log_loss),
        "log_loss_of_the_mean": _or_none(found.plain_loss),
        "calibration": [[one.predicted, one.observed, one.error, one.rows] for one in found.bins],
        "qini": None if found.qini is None else found.qini_coefficient,
        "effect": None if found.qini is None else [found.effect, found.effect_error],
        "importance": [list(pair) for pair in made.fitted.gains],
        "groups": {
            what: [
                {
                    "name": one.name,
                    "rows": one.rows,
                    "voters": one.voters,
                    "rate": one.rate,
                    "foretold": one.predicted,
                    "auc": _or_none(one.auc),
                    "gaps": list(one.gaps),
                }
                for one in groups
            ]
            for what, groups in found.groups.items()
        },
        "library": f"lightgbm {made.fitted.library}",
    }


def html(made: Made, images: Mapping[str, bytes]) -> str:
    """Return the card as one page that needs nothing beside it."""
    recipe, found = made.recipe, made.judgement
    curve = "qini.png" if found.qini is not None else "gain.png"
    parts = [
        f"<h1>{escape(recipe.name)}</h1>",
        f"<p>{escape(recipe.description)}</p>" if recipe.description else "",
        f"<p class=quiet>Foretells <code>{escape(recipe.label)}</code>{_of_whom(recipe)}. Judged by "
        f"{_JUDGES[recipe.split]}, from the scores that the stream's own kernel gives.</p>",
        _boxes(made),
        f"<div class=pair>{_image(images, 'calibration.png')}{_image(images, curve)}</div>",
        "<h2>What it goes by</h2>",
        f"<div class=wide>{_image(images, 'importance.png')}</div>",
        *(_by_group(what, found.groups.get(what), images, made) for what in GROUPS),
        "<h2>What it was made of</h2>",
        _data(made),
        "<h2>How it was made</h2>",
        f"<p><code>{escape(made.command)}</code></p>",
        f"<p class=quiet>LightGBM {escape(made.fitted.library)}, one thread, seed {recipe.seed}; "
        f"{made.fitted.trees} trees, {made.model_bytes:,} bytes; calibrated by slope {made.fitted.slope:.3f} and "
        f"intercept {made.fitted.intercept:+.3f} before the link. SHA-256 <code>{made.sha256}</code></p>",
        f"<pre>{escape(recipe.text.strip())}</pre>",
    ]
    return (
        f"<!doctype html>\n<html lang=en>\n<head><meta charset=utf-8><title>{escape(recipe.name)}</title>\n"
        f"<style>{_STYLE}</style></head>\n<body>\n" + "\n".join(part for part in parts if part) + "\n</body>\n</html>\n"
    )


def period(meta: Mapping[str, Any]) -> str:
    """Return from when to when the log of a data set goes."""
    begin, end = (datetime.fromtimestamp(meta[key] / 1000, UTC) for key in ("begin_ms", "end_ms"))
    return f"{begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"


def _of_whom(recipe: Recipe) -> str:
    if recipe.holdout is not None:
        share = f"{100 * recipe.holdout.share:g} %"
        return (
            f": by how much more likely <code>{escape(recipe.holdout.treatment)}</code> makes it; {share} of the "
            f"voters were held out of the experiment <code>{escape(recipe.holdout.experiment)}</code>"
        )
    if recipe.eligible:
        return ", of voters with " + ", ".join(f"<code>{escape(one.text)}</code>" for one in recipe.eligible)
    return ""


def _boxes(made: Made) -> str:
    found = made.judgement
    test = found.counts["test"]
    boxes = [("voters who judge", f"{test.voters:,}", f"{test.rows:,} rows, {test.positives:,} positives")]
    if found.qini is not None:
        boxes.append(
            ("effect on average", _points(found.effect), f"\u00b1 {_points(1.96 * found.effect_error, sign=False)}")
        )
        boxes.append(("Qini coefficient", f"{100 * found.qini_coefficient:.2f}", "% of the voters; 0 at random"))
        boxes.append(("reached", f"{100 * found.reached:.1f} %", "of all rows of those moments"))
    else:
        better = 1 - found.log_loss / found.plain_loss
        boxes.append(("AUC", f"{found.auc:.3f}", f"\u00b1 {1.96 * found.auc_error:.3f}"))
        boxes.append(
            ("log loss", f"{found.log_loss:.4f}", f"{100 * better:.0f} % below the mean's {found.plain_loss:.4f}")
        )
        boxes.append(("of positives", f"{100 * found.gain[10]:.0f} %", "in the best tenth"))
        boxes.append(("base rate", f"{100 * test.rate:.2f} %", "of the rows that judge, weighted"))
    gaps = sum(bool(one.gaps) for groups in found.groups.values() for one in groups)
    boxes.append(("gaps", str(gaps), "groups served worse" if gaps else "no group served worse"))
    return (
        "<div class=figures>"
        + "".join(
            f"<div class=figure><span>{title}</span><b>{value}</b><span>{note}</span></div>"
            for title, value, note in boxes
        )
        + "</div>"
    )


def _by_group(what: str, groups: Sequence[Group] | None, images: Mapping[str, bytes], made: Made) -> str:
    title = f"<h2>By {what}</h2>"
    if not groups:
        return f"{title}<p class=quiet>The feature catalogue of this build does not say it.</p>"
    is_effect = made.judgement.qini is not None
    head = ("group", "voters", "rows", "observed", "foretold", *(() if is_effect else ("AUC",)), "gaps")
    lines = []
    for one in groups:
        told = ", ".join(one.gaps) if one.judged else "too few to judge"
        area = "" if is_effect else f"<td>{'' if math.isnan(one.auc) else f'{one.auc:.3f}'}</td>"
        lines.append(
            f"<tr class={'gap' if one.gaps else 'few' if not one.judged else 'even'}><td>{escape(one.name)}</td>"
            f"<td>{one.voters:,}</td><td>{one.rows:,}</td><td>{100 * one.rate:.2f} %</td>"
            f"<td>{100 * one.predicted:.2f} %</td>{area}<td>{f'<b>{told}</b>' if one.gaps else told}</td></tr>"
        )
    heads = "".join(f"<th>{name}</th>" for name in head)
    table = f"<table><tr>{heads}</tr>{''.join(lines)}</table>"
    picture = f"{what.replace(' ', '_')}.png"
    return f"{title}<div class=wide>{_image(images, picture)}</div>{table}"


def _data(made: Made) -> str:
    meta, found = made.meta, made.judgement
    counts = meta["counts"]
    lines = "".join(
        f"<tr><td>{part}</td><td>{of.voters:,}</td><td>{of.rows:,}</td><td>{of.positives:,}</td>"
        f"<td>{100 * of.rate:.2f} %</td></tr>"
        for part, of in found.counts.items()
    )
    said = ", ".join(
        f"{counts[key]:,} {word}"
        for key, word in (
            ("candidates", "moments of voters"),
            ("censored", "censored by the log's end or a withdrawn consent"),
            ("unanswered", "without an answer"),
        )
        if counts.get(key)
    )
    return (
        f"<p>The log from {period(meta)}, {counts['voters']:,} voters; {said}. "
        f"Engine {meta['engine']}, record version {meta['record_version']}.</p>"
        f"<table><tr><th>rows to</th><th>voters</th><th>rows</th><th>positives</th><th>rate</th></tr>{lines}</table>"
        f"<p class=quiet>Rows by <code>{escape(str(meta['command']))}</code></p>"
    )


def _image(images: Mapping[str, bytes], name: str) -> str:
    data = base64.b64encode(images[name]).decode()
    return f'<img alt="{escape(name)}" src="data:image/png;base64,{data}">'


def _points(value: float, *, sign: bool = True) -> str:
    return f"{100 * value:{'+' if sign else ''}.1f} points"


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
