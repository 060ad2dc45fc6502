from __future__ import annotations

from stream.errors import printable


def test_strangers_text_moves_no_terminal() -> None:
    assert printable("\x1b[2Jname\x9b1m\n") == "\\x1b[2Jname\\x9b1m\\n"
    assert printable("Zoë 4711, 東京") == "Zoë 4711, 東京"
