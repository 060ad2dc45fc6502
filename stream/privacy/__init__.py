"""Step 4: which events may be used, and for what: duplicates, consent, erasure."""

from stream.privacy.kernels import gate

__all__ = ["gate"]
