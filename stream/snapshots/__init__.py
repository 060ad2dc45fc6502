"""A partition's state at one offset, outside Redis: written beside the running work, checked before it is used."""

from stream.snapshots.capture import Capture
from stream.snapshots.catalogue import Catalogue, Place
from stream.snapshots.filesystems import FileSnapshots
from stream.snapshots.format import FORMAT, Manifest
from stream.snapshots.offload import Offload, in_thread, inline
from stream.snapshots.reading import SnapshotReader
from stream.snapshots.storage import MemorySnapshots, SnapshotStorage

__all__ = [
    "FORMAT",
    "Capture",
    "Catalogue",
    "FileSnapshots",
    "Manifest",
    "MemorySnapshots",
    "Offload",
    "Place",
    "SnapshotReader",
    "SnapshotStorage",
    "in_thread",
    "inline",
]
