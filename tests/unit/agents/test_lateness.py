"""Rows that are read late wait for those behind them, and for nothing else, to share a commit with them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.agents.worksite import NOW_MS, Shelf, activation, like, opened, site_of, turns, until

pytestmark = pytest.mark.usefixtures("kernels")


async def test_rows_that_are_late_already_wait_for_those_behind_them_and_share_a_commit() -> None:
    async with opened(site_of(now=lambda: NOW_MS / 1000 + 3600)) as site:
        site.tape.write(*(like("ada", n) for n in range(10)))
        site.deliver(1)
        await until(site.is_done)
        assert [commit.header.offset for commit in site.store.commits] == [10]


async def test_late_rows_are_committed_at_half_of_the_bound() -> None:
    async with opened(site_of(now=lambda: NOW_MS / 1000 + 3600, uncommitted_events=8)) as site:
        site.tape.write(*(like("ada", n) for n in range(10)))
        site.deliver(1)
        await until(site.is_done)
        assert [commit.header.offset for commit in site.store.commits] == [4, 8, 10]


async def test_late_rows_wait_no_longer_than_a_part_of_their_delay() -> None:
    async with opened(site_of(now=lambda: NOW_MS / 1000 + 0.2)) as site:
        site.tape.write(like("ada", 1), activation(Shelf().model()), like("ada", 2))
        site.deliver(1)
        # The second batch waits for content that nobody wrote yet, and the third for the second.
        await until(lambda: site.partition.committed_offset == 1)
        site.shelf.model()
        await until(site.is_done)


async def test_late_rows_wait_only_where_others_wait_behind_them() -> None:
    site = site_of(now=lambda: NOW_MS / 1000 + 3600)
    table = SimpleNamespace(changed=1)
    work: Any = SimpleNamespace(uncommitted=1, is_quiet=False, oldest_ms=NOW_MS, table=table, is_followed=False)
    assert site.partition._patience(work) == 0.0
    work.is_followed = True
    assert site.partition._patience(work) == 2.0
    work.is_followed = False
    site.tape.write(like("ada", 1))
    site.deliver()
    assert site.partition._patience(work) == 2.0


async def test_late_rows_wait_while_the_log_goes_on_behind_them_though_nothing_is_fetched_yet() -> None:
    async with opened(site_of(now=lambda: NOW_MS / 1000 + 3600)) as site:
        site.tape.write(like("ada", 1), like("ada", 2))
        site.partition.feed(site.tape.take(1))
        await until(lambda: len(site.outcomes) == 1)
        await turns()
        assert site.store.commits == []
        site.deliver()
        await until(site.is_done)
        assert [commit.header.offset for commit in site.store.commits] == [2]
