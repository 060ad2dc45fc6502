"""A broker and a Redis for a laptop, and an electorate that talks to them."""

from stream.embedded.services import EmbeddedServices

__all__ = ["EmbeddedServices"]
