"""A model file and its card belong together, whatever breaks off or comes between."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stream.commands.training.writing import require_writable, write_model
from stream.errors import ConfigurationError


def card_of(mark: bytes) -> dict[str, bytes]:
    return {"card.html": mark, "gain.png": mark, "figures.json": mark}


def full(_self: Path, _given: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


KILLED = """
import os, sys
from pathlib import Path
from stream.commands.training.writing import write_model

steps = int(sys.argv[2])

def counted(does):
    def done(self, *given):
        global steps
        steps -= 1
        if steps < 0:
            if does is write:
                does(self, given[0][:1])
            os.kill(os.getpid(), 9)
        return does(self, *given)
    return done

write = Path.write_bytes
Path.write_bytes = counted(write)
Path.rename, Path.replace = counted(Path.rename), counted(Path.replace)
write_model(Path(sys.argv[1]), "gives", b"new", dict.fromkeys(("card.html", "gain.png", "figures.json"), b"new"))
"""


@pytest.mark.parametrize("step", range(8))
def test_run_that_is_killed_leaves_no_half_file_and_no_card_of_another_model(
    tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(tmp_path, "gives", b"old", {**card_of(b"old"), "qini.png": b"old"})
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(step)], check=False)
    assert done.returncode == (-9 if step < 7 else 0)
    model, card = (tmp_path / "gives.json").read_bytes(), tmp_path / "gives.card"
    assert model in {b"old", b"new"}
    assert {file.read_bytes() for file in card.glob("*")} <= {model}
    with monkeypatch.context() as broken:
        broken.setattr(Path, "write_bytes", full)
        with pytest.raises(ConfigurationError, match="No space left"):
            write_model(tmp_path, "gives", b"next", card_of(b"next"))
    # What the killed run took away from the model that stands is back.
    assert (tmp_path / "gives.json").read_bytes() == model
    assert {file.read_bytes() for file in card.glob("*")} == (set() if step == 6 else {model})
    write_model(tmp_path, "gives", b"next", card_of(b"next"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gives.card", "gives.json"]
    assert {path.name: path.read_bytes() for path in card.iterdir()} == card_of(b"next")


def test_files_that_cannot_be_written_leave_the_former_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path, "gives", b"old", card_of(b"old"))
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ConfigurationError, match=r"cannot be written: .*No space left"):
        write_model(tmp_path, "gives", b"new", card_of(b"new"))
    assert (tmp_path / "gives.json").read_bytes() == b"old"
    assert {path.name: path.read_bytes() for path in (tmp_path / "gives.card").iterdir()} == card_of(b"old")
    assert len(list(tmp_path.iterdir())) == 2


def test_card_that_is_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "gives.card").symlink_to("elsewhere")
    with pytest.raises(ConfigurationError, match=r"gives.card is a symbolic link, expected the path of a directory"):
        require_writable(tmp_path, "gives")


def test_two_that_write_one_model_write_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, may_end, write = threading.Event(), threading.Event(), Path.write_bytes

    def slow(self: Path, data: bytes) -> int:
        if data == b"first":
            begun.set()
            may_end.wait(30)
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", slow)
    first, second = (
        threading.Thread(target=write_model, args=(tmp_path, "gives", mark, card_of(mark)))
        for mark in (b"first", b"second")
    )
    first.start()
    assert begun.wait(30)
    second.start()
    second.join(0.3)
    assert second.is_alive()
    may_end.set()
    for thread in (first, second):
        thread.join(30)
    assert (tmp_path / "gives.json").read_bytes() == b"second"
    assert {path.name: path.read_bytes() for path in (tmp_path / "gives.card").iterdir()} == card_of(b"second")
    assert len(list(tmp_path.iterdir())) == 2
