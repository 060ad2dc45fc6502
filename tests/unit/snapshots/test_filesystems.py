from __future__ import annotations

import stat
from pathlib import Path

from stream.snapshots import FileSnapshots


def test_snapshot_in_a_directory_is_for_its_owner_and_group_alone(tmp_path: Path) -> None:
    FileSnapshots(f"file://{tmp_path}/kept").write("0/one/records", b"x")
    written = tmp_path / "kept" / "0" / "one" / "records"
    assert written.read_bytes() == b"x"
    assert stat.S_IMODE(written.stat().st_mode) & 0o027 == 0
    assert stat.S_IMODE(written.parent.stat().st_mode) & 0o027 == 0
