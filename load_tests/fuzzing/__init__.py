"""Bytes changed by chance, through everything that reads bytes: one module for each kind of reader."""

from load_tests.fuzzing.promises import BrokenPromiseError
from load_tests.fuzzing.targets import TARGETS, Target, run

__all__ = ["TARGETS", "BrokenPromiseError", "Target", "run"]
