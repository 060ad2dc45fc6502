"""Events: the CloudEvents that the log holds, from bytes to columns, and the documents that describe them."""

from stream.events.decoding import decode

__all__ = ["decode"]
