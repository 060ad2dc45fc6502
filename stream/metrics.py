"""Every metric that operators watch; observed once for each batch, commit or send, never for each event."""

from __future__ import annotations

import platform
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from stream import __version__
from stream.records import ENGINE_VERSION, REJECT_REASONS
from stream.scoring import Drift, Sample, Watch
from stream.signals import UNKNOWN
from stream.versions import ACTIVE

_LATENCY_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_SNAPSHOT_SECONDS: Final = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
_BATCH_EVENTS: Final = (1, 3, 10, 30, 100, 300, 1000, 3000, 10000, 30000)
SCORE_BOUNDS: Final = tuple(step / 20 for step in range(1, 20))
_ARRAY_SCORES: Final = 64
"""For how many scores an array counts by itself, since it takes memory with none in it."""
_SCORES_AT_ONCE: Final = 131_072
"""Of all models: so many that counting them takes next to nothing for an event."""


class Metrics:
    """The worker's metrics in a registry of their own; labels are bounded and never name a voter."""

    def __init__(self) -> None:
        """Register every metric at its zero."""
        self._scores: defaultdict[tuple[str, str], list[NDArray[np.float64]]] = defaultdict(list)
        """By model and role, of the last batches, not in its histogram yet."""
        self._scores_kept = 0
        self._drift = Drift()
        self.registry = CollectorRegistry()
        r = self.registry
        self._register_events(r)
        self.commit_seconds = Histogram("groundswell_commit_seconds", "Time of a commit to Redis", registry=r)
        self.commit_records = Counter(
            "groundswell_commit_records_total", "Voter records written by commits", registry=r
        )
        self.commits_refused = Counter(
            "groundswell_commits_refused_total", "Commits refused: the partition was claimed anew", registry=r
        )
        self.commits_unknown = Counter(
            "groundswell_commits_unknown_total", "Commits whose answer did not come and was settled", registry=r
        )
        self.claims = Counter(
            "groundswell_claims_total", "Partitions taken up at an assignment, claimed or resumed", registry=r
        )
        self.relay_backlog = Gauge(
            "groundswell_relay_backlog", "Committed rows not sent yet", ["output", "partition"], registry=r
        )
        self.relay_standstill_seconds = Gauge(
            "groundswell_relay_standstill_seconds",
            "For how long committed rows have waited and none was sent",
            ["output", "partition"],
            registry=r,
        )
        self.relay_sent = Counter("groundswell_relay_sent_total", "Rows sent", ["output"], registry=r)
        self._register_models(r)
        self.triggers = Counter("groundswell_triggers_total", "Triggers decided, by campaign", ["campaign"], registry=r)
        self.log_to_commit_seconds = Histogram(
            "groundswell_log_to_commit_seconds",
            "From a batch's oldest append to its commit",
            buckets=_LATENCY_SECONDS,
            registry=r,
        )
        self.log_to_trigger_seconds = Histogram(
            "groundswell_log_to_trigger_seconds",
            "From a batch's oldest append to its triggers' acknowledgement",
            buckets=_LATENCY_SECONDS,
            registry=r,
        )
        self.voters = Gauge("groundswell_voters_in_memory", "Voter records in memory", ["partition"], registry=r)
        self._register_snapshots(r)
        build = Gauge("groundswell_build_info", "Always 1", ["version", "engine", "python"], registry=r)
        build.labels(__version__, str(ENGINE_VERSION), platform.python_version()).set(1)
        for reason in REJECT_REASONS[1:]:
            self.rejects.labels(reason)
        for field in UNKNOWN:
            self.unknown.labels(field)

    def _register_models(self, r: CollectorRegistry) -> None:
        labels = ["model", "role"]
        self.score = Histogram(
            "groundswell_score", "Scores of the folded events, by version", labels, buckets=SCORE_BOUNDS, registry=r
        )
        self.score_psi = Gauge(
            "groundswell_model_score_psi",
            "Population stability index of a version's scores, a day against its training",
            labels,
            registry=r,
        )
        self.feature_psi = Gauge(
            "groundswell_model_feature_psi",
            "Population stability index of a feature that an active version uses, a day against its training",
            ["model", "feature"],
            registry=r,
        )

    def _register_events(self, r: CollectorRegistry) -> None:
        self.events = Counter("groundswell_events_total", "Log rows processed", registry=r)
        self.folded = Counter("groundswell_folded_total", "Events folded into a voter's record", registry=r)
        self.rejects = Counter("groundswell_rejects_total", "Rows rejected, by reason", ["reason"], registry=r)
        self.duplicates = Counter("groundswell_duplicates_total", "Events dropped as duplicates", registry=r)
        self.suppressed = Counter(
            "groundswell_suppressed_total", "Events dropped because the voter withdrew or was erased", registry=r
        )
        self.unknown = Counter(
            "groundswell_unknown_total",
            "Folded events with a text that the taxonomy does not list, by what it is",
            ["field"],
            registry=r,
        )
        self.forwards = Counter("groundswell_forwards_total", "Events sent on to their own partition", registry=r)
        self.batch_events = Histogram("groundswell_batch_events", "Rows of a batch", buckets=_BATCH_EVENTS, registry=r)
        self.batch_seconds = Histogram(
            "groundswell_batch_seconds", "Time from a batch's decoding to its decisions", registry=r
        )
        self.lag = Gauge("groundswell_lag_events", "Offsets behind the log's end", ["partition"], registry=r)
        self.standstill_seconds = Gauge(
            "groundswell_standstill_seconds",
            "For how long rows have waited in the log without a commit, or for the partition's claim; else 0",
            ["partition"],
            registry=r,
        )

    def _register_snapshots(self, r: CollectorRegistry) -> None:
        self.snapshots = Counter("groundswell_snapshots_total", "Snapshots taken", registry=r)
        self.snapshots_failed = Counter(
            "groundswell_snapshots_failed_total", "Snapshots that could not be taken; work went on without", registry=r
        )
        self.snapshot_seconds = Histogram(
            "groundswell_snapshot_seconds", "Time of a snapshot", buckets=_SNAPSHOT_SECONDS, registry=r
        )
        self.snapshot_time = Gauge(
            "groundswell_snapshot_timestamp_seconds", "When the newest snapshot was begun", ["partition"], registry=r
        )
        self.snapshot_bytes = Gauge(
            "groundswell_snapshot_bytes", "Size of the newest snapshot", ["partition"], registry=r
        )
        self.snapshot_hold_seconds = Gauge(
            "groundswell_snapshot_hold_seconds",
            "Longest time that a batch waited for records to be copied before it changed them, newest snapshot",
            ["partition"],
            registry=r,
        )

    def observe_scores(self, model: str, scores: NDArray[np.float64], role: str = ACTIVE) -> None:
        """Keep a batch's scores (not to be changed any more) to be counted with those of others."""
        self._scores[model, role].append(scores)
        self._scores_kept += len(scores) + _ARRAY_SCORES
        if self._scores_kept >= _SCORES_AT_ONCE:
            self._count_scores()

    def _count_scores(self) -> None:
        """Add the scores that were kept to their histograms."""
        for (model, role), batches in self._scores.items():
            scores = np.concatenate(batches)
            # Bound by bound: a search for each score takes seven times as long.
            up_to = [np.count_nonzero(scores <= bound) for bound in SCORE_BOUNDS]
            counts = np.diff([0, *up_to, len(scores)])
            series = self.score.labels(model, role)
            # prometheus_client offers only one observation at a time, which costs 0.5 us for each event.
            for bucket, count in zip(series._buckets, counts.tolist(), strict=True):  # noqa: SLF001
                bucket.inc(count)
            series._sum.inc(float(scores.sum()))  # noqa: SLF001
        self._scores.clear()
        self._scores_kept = 0

    def observe_drift(self, watch: Watch | None, samples: Sequence[Sample]) -> None:
        """Keep a batch's samples of what is watched; ``watch`` is what is so after it."""
        self._drift.take(watch, samples)

    def _show_drift(self) -> None:
        # Whatever is not watched any more leaves no series behind.
        self.score_psi.clear()
        self.feature_psi.clear()
        for one, index in self._drift.indices():
            if one.feature:
                self.feature_psi.labels(one.model, one.feature).set(index)
            else:
                self.score_psi.labels(one.model, one.role).set(index)

    def forget_partition(self, partition: int) -> None:
        """Drop the series of a partition that this worker no longer holds."""
        label = str(partition)
        relays = (self.relay_backlog, self.relay_standstill_seconds)
        snapshots = (self.snapshot_time, self.snapshot_bytes, self.snapshot_hold_seconds)
        for gauge in (self.lag, self.standstill_seconds, *relays, self.voters, *snapshots):
            gauge.remove_by_labels({"partition": label})

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format 0.0.4."""
        self._count_scores()
        self._show_drift()
        return generate_latest(self.registry)
