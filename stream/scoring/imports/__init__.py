"""Model files of other tools, read into forests."""

from stream.scoring.imports.lightgbm import read_lightgbm
from stream.scoring.imports.treelite import read_treelite

__all__ = ["read_lightgbm", "read_treelite"]
