"""Groundswell: a real-time engagement stream processor for political campaigns."""

__version__ = "0.1.0"
