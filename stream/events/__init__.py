"""Events: the CloudEvents that the log holds, from bytes to columns, and the documents that describe them."""

from stream.events.decoding import Facts, decode, read
from stream.events.documents import asyncapi, schema, schema_names
from stream.events.fields import misfit
from stream.events.rejecting import rejected

__all__ = ["Facts", "asyncapi", "decode", "misfit", "read", "rejected", "schema", "schema_names"]
