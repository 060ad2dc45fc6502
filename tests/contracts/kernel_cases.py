"""The registry of kernels: each with inputs from a seed, and what it may change."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from load_tests.fuzzing.scanning import batch_of, mutate
from load_tests.fuzzing.spelling import some_event, write
from stream.details import DETAIL, TEXTS
from stream.events.field_kernels import SPANS
from stream.events.scan_kernels import scan_rows, unescape_rows
from stream.events.tables import EVENTS
from stream.features import FEATURES, CompiledTaxonomy, fold, read_rows, taxonomy_of
from stream.features.signal_kernels import read_signals
from stream.privacy import gate
from stream.records import EVENT_TYPES, MAX_CAMPAIGNS, MAX_MODELS, PRIVACY_ERASED, USE_ERASE, USE_FOLD, VOTER
from stream.scoring import Models, compile_models, read_model
from stream.scoring.bitvectors import Picked, compile_forest
from stream.scoring.forest_kernels import score_forest
from stream.scoring.kernels import score_rows, take_canary
from stream.scoring.shapley_kernels import explain_forest
from stream.scoring.walk_kernels import walk_forest
from stream.signals import DEVICES, MESSAGE_CHANNELS, METHODS, ORIGINS, PAGES, SIDES, SIGNAL
from stream.spans import Spans
from stream.triggers import Campaigns, compile_campaigns, read_campaign
from stream.triggers.kernels import decide_rows
from tests.forests import some_forest, some_rows

BEGIN_MS = 1_790_000_000_000
Arguments = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One kernel: how its arguments are made, which it may write, and what of them one row alone is."""

    kernel: Any
    arguments: Callable[[int, int], Arguments]
    """From a seed and a number of rows."""
    outputs: frozenset[str]
    """Arguments that are written in place."""
    appended: tuple[str, ...] = field(default=())
    """Outputs that are filled from their start, as far as the returned count."""

    @property
    def name(self) -> str:
        return str(self.kernel.__name__)


def voters(chance: np.random.Generator, n: int) -> NDArray[Any]:
    """Return records as they are after a while: some fresh, some withdrawn, some erased."""
    records = np.zeros(n, VOTER)
    old = chance.random(n) < 0.7
    records["version"] = old
    records["consent"] = np.where(old, chance.choice(4, n, p=[0.6, 0.2, 0.1, 0.1]), 0)
    records["ring_next"] = chance.integers(0, 16, n)
    records["ring"] = chance.integers(0, 50, (n, 16))
    records["first_seen_s"] = np.where(old, (BEGIN_MS - chance.integers(0, 10**9, n)) // 1000, 0)
    records["last_seen_ms"] = np.where(old, BEGIN_MS + chance.integers(0, 10**7, n), 0)
    records["sessions"] = old
    records["session_events"] = old
    records["counts"] = np.where(old[:, None], chance.random(records["counts"].shape), 0.0)
    records["last_s"] = np.where(old[:, None], BEGIN_MS // 1000 - chance.integers(0, 10**7, records["last_s"].shape), 0)
    records["amount_last"] = chance.random(n)
    lately = ("active_days", "session_seconds", "session_length_s", "page_views", "depth", "zone", "response_minutes")
    for name in lately:
        records[name] = np.where(old, chance.integers(0, 60, n), 0)
    for name in ("parts_of_day", "hours", "messages", "tallies", "days", "marks"):
        shape = records[name].shape
        records[name] = np.where(old.reshape(n, *[1] * (len(shape) - 1)), chance.integers(0, 256, shape), 0)
    records["score"] = chance.random((n, MAX_MODELS))
    records["score_tag"] = chance.integers(0, 4, (n, MAX_MODELS))
    records["armed"] = chance.integers(0, 1 << MAX_CAMPAIGNS, n)
    records["fired_s"] = chance.choice([0, BEGIN_MS // 1000 - 10**6, BEGIN_MS // 1000], (n, MAX_CAMPAIGNS))
    records["campaign_tag"] = chance.integers(0, 4, (n, MAX_CAMPAIGNS))
    return records


def models(seed: int) -> Models:
    """Return three models of a seed, with a free slot between."""
    chance = np.random.default_rng(seed)
    files = []
    for name, kind in (("a", "linear"), ("b", "logistic"), ("c", "logistic")):
        features = chance.choice(len(FEATURES), int(chance.integers(1, 12)), replace=False)
        weights = {FEATURES[index]: float(chance.normal()) for index in features}
        fields = {"name": name, "kind": kind, "bias": float(chance.normal()), "weights": weights}
        if name == "c":
            fields["calibration"] = {"slope": 0.7, "intercept": -0.2}
        files.append(read_model(orjson.dumps(fields), FEATURES))
    tags = np.array([1, 0, 2, 3, 0, 0, 0, 0], np.uint32)
    return compile_models([files[0], None, files[1], files[2]], tags)


def campaigns(seed: int) -> Campaigns:
    """Return campaigns of a seed in most slots, up and down, one of them on a model that is not active."""
    chance = np.random.default_rng(seed)
    names = [None if slot == 3 else f"campaign-{slot}" for slot in range(int(chance.integers(5, MAX_CAMPAIGNS + 1)))]
    files = [None if name is None else read_campaign(campaign_file(name, chance)) for name in names]
    tags = np.zeros(MAX_CAMPAIGNS, np.uint32)
    tags[: len(names)] = chance.integers(1, 4, len(names))
    model_slots = [["a", "1"], None, ["b", "2"], ["c", "3"]]
    return compile_campaigns(files, tags, [None if name is None else [name, "9"] for name in names], model_slots)


def campaign_file(name: str, chance: np.random.Generator) -> bytes:
    """Return a campaign whose threshold is crossed often."""
    up, threshold = bool(chance.random() < 0.6), round(float(chance.random()), 2)
    rearm = round(threshold - 0.1 if up else threshold + 0.1, 2)
    cooldown = chance.choice(["0", '"45s"', '"7d"'])
    model, direction = chance.choice(["a", "b", "c", "gone"]), "up" if up else "down"
    text = f'name = "{name}"\nmodel = "{model}"\ndirection = "{direction}"\n'
    return f"{text}threshold = {threshold}\nrearm = {rearm}\ncooldown = {cooldown}\n".encode()


def rows_of(chance: np.random.Generator, n: int) -> Arguments:
    """Return ``n`` rows of a few voters: often the same one, now and then nobody's."""
    records = voters(chance, 1 + n // 4)
    now = BEGIN_MS + np.cumsum(chance.choice([0, 1, 5_000, 5_000_000], n))
    return {
        "records": records,
        "slots": chance.integers(-1, len(records), n),
        "kinds": chance.choice(PRIVACY_ERASED + 1, n),
        "times": now - chance.choice([0, 0, 3, 90_000_000, -60_000], n),
        "now": now,
        "hashes": chance.integers(1, 60, n).astype(np.uint64),
        "offsets": np.arange(n) + 1000,
    }


def signals(chance: np.random.Generator, n: int) -> NDArray[Any]:
    """Return what ``n`` events say, whatever their kinds."""
    made = np.zeros(n, SIGNAL)
    made["amount"] = chance.choice([0.0, 0.5, 27.0, 1e9], n)
    made["issues"] = chance.choice([0, 0, 10, 255], (n, 12))
    for name, most in (("favour", 256), ("against", 256), ("device_bit", 17), ("support", 6), ("answer", 4)):
        made[name] = chance.integers(0, most, n)
    places = {"side": SIDES, "page": PAGES, "origin": ORIGINS, "device": DEVICES, "channel": MESSAGE_CHANNELS}
    for name, choices in (places | {"method": METHODS}).items():
        made[name] = chance.integers(0, len(choices), n)
    for name in ("region", "age_band", "language", "zone", "source"):
        made[name] = chance.integers(0, 70, n) * chance.integers(0, 2, n)
    return made


def use_of(chance: np.random.Generator, slots: NDArray[np.int64]) -> NDArray[np.int64]:
    use = chance.choice([USE_FOLD, USE_FOLD, USE_FOLD, USE_ERASE, 2, 3], len(slots))
    use[slots < 0] = 0
    return use


def gate_arguments(seed: int, n: int) -> Arguments:
    rows = rows_of(np.random.default_rng(seed), n)
    chosen = {name: rows[name] for name in ("records", "slots", "kinds", "hashes", "offsets")}
    return {**chosen, "first": 0, "stop": n, "use": np.full(n, -7, np.int64)}


def fold_arguments(seed: int, n: int) -> Arguments:
    chance = np.random.default_rng(seed)
    rows = rows_of(chance, n)
    columns = np.sort(chance.choice(len(FEATURES), int(chance.integers(1, len(FEATURES))), replace=False))
    chosen = {name: rows[name] for name in ("records", "slots", "kinds", "times", "now")}
    use = use_of(chance, rows["slots"])
    out = np.full((n, len(columns)), -7.0)
    return {**chosen, "signals": signals(chance, n), "use": use, "first": 0, "stop": n, "columns": columns, "rows": out}


def read_arguments(seed: int, n: int) -> Arguments:
    chance = np.random.default_rng(seed)
    columns = np.sort(chance.choice(len(FEATURES), int(chance.integers(1, len(FEATURES))), replace=False))
    now_ms = BEGIN_MS + int(chance.integers(0, 10**9))
    arguments = {"records": voters(chance, n), "now_ms": now_ms, "first": 0, "stop": n, "columns": columns}
    return {**arguments, "rows": np.full((n, len(columns)), -7.0)}


def canary_arguments(seed: int, n: int) -> Arguments:
    chance = np.random.default_rng(seed)
    ids = Spans.of([chance.bytes(int(chance.integers(1, 65))) for _ in range(n)])
    return {
        **{name: getattr(ids, name) for name in ("buffer", "starts", "stops")},
        "experiment": np.frombuffer(b"support\0" + chance.bytes(int(chance.integers(0, 150))), np.uint8),
        "share": float(chance.random()),
        "use": use_of(chance, np.zeros(n, np.int64)),
        "first": 0,
        "stop": n,
        "column": MAX_MODELS,
        "slot": seed % MAX_MODELS,
        "scores": chance.random((n, MAX_MODELS + 1)),
        "canaries": chance.choice([0, 1, 64], n),
    }


def score_arguments(seed: int, n: int) -> Arguments:
    chance = np.random.default_rng(seed)
    compiled = models(seed)
    rows = chance.random((n, len(compiled.columns))) * 3
    rows[chance.random(n) < 0.1] = np.nan
    return {
        **{name: getattr(compiled, name) for name in ("sums", "bias", "calibrated", "slope", "intercept")},
        **{name: getattr(compiled, name) for name in ("is_logistic", "starts", "places", "weights")},
        "rows": rows,
        "use": use_of(chance, np.zeros(n, np.int64)),
        "first": 0,
        "stop": n,
        "out": np.full((n, MAX_MODELS), -7.0),
    }


def forest_arguments(seed: int, n: int) -> Arguments:
    rows, picked = some_rows(seed, n, 8), np.random.default_rng(seed).permutation(n)
    singles, bounds = Picked(rows, picked).cut()
    names = ("columns", "thresholds", "members", "keeps", "planes", "trees", "values", "after", "link")
    return _forest_arguments(seed, names, {"singles": singles, "bounds": bounds}, n)


def walk_arguments(seed: int, n: int) -> Arguments:
    return _forest_arguments(seed, ("walk",), {"rows": some_rows(seed, n, 8)}, n)


def _forest_arguments(seed: int, names: Sequence[str], rows: Arguments, n: int) -> Arguments:
    compiled = compile_forest(some_forest(seed, 11, 20, 8), {index: index for index in range(8)}, (0.7, -0.2))
    return {
        **{name: getattr(compiled, name) for name in names},
        **rows,
        "picked": np.random.default_rng(seed).permutation(n),
        "first": 0,
        "stop": n,
        "out": np.full((n, MAX_MODELS), -7.0),
        "m": seed % MAX_MODELS,
    }


def explain_arguments(seed: int, n: int) -> Arguments:
    compiled = compile_forest(some_forest(seed, 3, 8, 8), {index: index for index in range(8)}, (0.7, -0.2))
    assert compiled.shapley is not None
    return {
        **{name: getattr(compiled, name) for name in ("columns", "thresholds", "members", "nodes", "trees", "values")},
        **{name: getattr(compiled.shapley, name) for name in ("shares", "priors", "points", "quadratures", "scale")},
        "rows": some_rows(seed, n, 8),
        "picked": np.random.default_rng(seed).permutation(n),
        "first": 0,
        "stop": n,
        "out": np.full((n, 8), -7.0),
    }


def decide_arguments(seed: int, n: int) -> Arguments:
    chance = np.random.default_rng(seed)
    rows = rows_of(chance, n)
    compiled, by_slot = models(seed), campaigns(seed)
    scores = chance.random((n, MAX_MODELS))
    scores[chance.random((n, MAX_MODELS)) < 0.1] = np.nan
    room = n * MAX_CAMPAIGNS
    return {
        **{name: rows[name] for name in ("records", "slots", "now")},
        "use": use_of(chance, rows["slots"]),
        "scores": scores,
        "model_tags": compiled.tags,
        "model_empty": np.stack([compiled.empty, compiled.empty[::-1]]),
        "canaries": chance.integers(0, 1 << MAX_MODELS, n),
        **{name: getattr(by_slot, name) for name in ("tags", "models", "upward", "thresholds", "rearms")},
        "cooldowns_ms": by_slot.cooldowns_ms,
        "first": 0,
        "stop": n,
        "rows": np.full(room, -7, np.int64),
        "campaigns": np.full(room, -7, np.int64),
        "before": np.full(room, -7.0),
        "after": np.full(room, -7.0),
    }


def scan_arguments(seed: int, n: int) -> Arguments:
    chance = random.Random(seed)
    events = [write(chance, some_event(chance)).encode() for _ in range(n)]
    columns = batch_of([mutate(chance, event) if chance.random() < 0.3 else event for event in events])
    return {
        "buffer": np.frombuffer(columns.buffer, np.uint8),
        "starts": columns.value_starts,
        "stops": columns.value_stops,
        **{name: getattr(EVENTS, name) for name in ("words", "fields", "tables")},
        "first": 0,
        "stop": n,
        "kinds": np.full(n, -7, np.int64),
        "spans": np.full((SPANS, 2, n), -7, np.int64),
        "escaped": np.full(n, 7, np.uint16),
        "details": np.zeros(n, DETAIL),
    }


def unescape_arguments(seed: int, n: int) -> Arguments:
    scanned = scan_arguments(seed, n)
    scan_rows(*scanned.values())
    chosen = {name: scanned[name] for name in ("buffer", "escaped")}
    out = np.zeros(len(scanned["buffer"]), np.uint8)
    found = {name: scanned[name] for name in ("spans", "details")}
    return {**chosen, "first": 0, "stop": n, **found, "out": out}


def taxonomy(seed: int) -> CompiledTaxonomy:
    """Return a taxonomy of a seed, over few enough words that most texts of a few of them meet some."""
    chance = random.Random(seed)
    words = chance.sample(WORDS, 4)
    text = f"""
    issues = [
      {{name = "a", words.en = [["{words[0]}", {chance.randrange(1, 90) / 10}], "{words[1]}*"]}},
      {{name = "b"}},
    ]
    stance.for.en = ["{words[2]} {words[3]}", "{words[0]}*"]
    negations.en = ["not", "{words[3]}"]
    accounts = [{{side = "{chance.choice(["own", "press"])}", issue = "b", names = ["{words[0]}", "{words[1]}"]}}]
    pages = [{{class = "home", paths = ["/"]}}, {{class = "news", paths = ["/{words[0]}*", "*/{words[1]}"]}}]
    tags = [{{parameter = "utm_medium", ad = ["{words[0]}", "{words[1][0]}*"]}}]
    devices = [{{class = "tv", words = ["{words[0]}"]}}, {{class = "phone", words = ["{words[1]}*"]}}]
    referrers = {{search = ["{words[0]}.com"], mail = ["{words[1]}.{words[0]}.com"]}}
    channels = {{mail = ["{words[0]}"], door = ["{words[1]}"]}}
    methods.post = ["{words[0]}"]
    profile.regions = ["{words[1]}", "{words[0]}"]
    profile.languages = [["{words[0]}", "{words[2]}"]]
    profile.sources = ["{words[3]}"]
    """
    return taxonomy_of(text.encode())


WORDS = ("tax", "jobs", "care", "rent", "vote", "gun")
# fmt: off
_PIECES = (
    *WORDS, *WORDS, "NOT", "taxes", "é", "\xff", "https://", "/", "?", "&", "utm_medium=", ".", ".com", "@", ":80", "#",
    " ", "-",
)
# fmt: on


def signal_arguments(seed: int, n: int) -> Arguments:
    """Return rows of all kinds, their texts of a few words and marks."""
    chance = random.Random(seed)
    pieces = ["".join((chance.choice(_PIECES), chance.choice(("", "", " ")))) for _ in range(6 * n * TEXTS)]
    texts = [
        "".join(pieces[6 * place : 6 * place + chance.choice((0, 1, 1, 2, 6))]).encode("latin-1")
        for place in range(n * TEXTS)
    ]
    spans, details = Spans.of(texts), np.zeros(n, DETAIL)
    details["starts"], details["stops"] = spans.starts.reshape(n, TEXTS), spans.stops.reshape(n, TEXTS)
    details["code"] = [chance.randrange(6) for _ in range(n)]
    details["amount"] = [chance.choice((0.0, 27.35)) for _ in range(n)]
    made = taxonomy(seed)
    return {
        "buffer": spans.buffer,
        "details": details,
        "kinds": np.array([chance.randrange(-1, len(EVENT_TYPES)) for _ in range(n)]),
        **{
            name: getattr(made, name) for name in ("lists", "goto", "starts", "codes", "shorter", "patterns", "weights")
        },
        "first": 0,
        "stop": n,
        "signals": np.frombuffer(bytes([7]) * n * SIGNAL.itemsize, SIGNAL).copy(),
        "unknown": np.full(n, 7, np.uint16),
    }


_FIRED = ("rows", "campaigns", "before", "after")
CASES = (
    Case(scan_rows, scan_arguments, frozenset({"kinds", "spans", "escaped", "details"})),
    Case(unescape_rows, unescape_arguments, frozenset({"spans", "details", "out"})),
    Case(read_signals, signal_arguments, frozenset({"signals", "unknown"})),
    Case(gate, gate_arguments, frozenset({"records", "use"})),
    Case(fold, fold_arguments, frozenset({"records", "rows"})),
    Case(read_rows, read_arguments, frozenset({"rows"})),
    Case(score_rows, score_arguments, frozenset({"out"})),
    Case(take_canary, canary_arguments, frozenset({"scores", "canaries"})),
    Case(score_forest, forest_arguments, frozenset({"out"})),
    Case(walk_forest, walk_arguments, frozenset({"out"})),
    Case(explain_forest, explain_arguments, frozenset({"out"})),
    Case(decide_rows, decide_arguments, frozenset({"records", *_FIRED}), _FIRED),
)
