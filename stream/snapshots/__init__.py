"""A partition's state at one offset, outside Redis: written beside the running work, checked before it is used."""

from stream.snapshots.capture import Aside, Capture, CopiedStore
from stream.snapshots.catalogue import Catalogue, Place, Retention
from stream.snapshots.filesystems import FileSnapshots
from stream.snapshots.fitting import Fitting, choose_to_replay, choose_to_restore
from stream.snapshots.format import FORMAT, Manifest, SnapshotName
from stream.snapshots.offload import Offload, OwnLoop, in_thread, inline
from stream.snapshots.reading import SnapshotReader
from stream.snapshots.requests import Request
from stream.snapshots.storage import MemorySnapshots, SnapshotStorage

__all__ = [
    "FORMAT",
    "Aside",
    "Capture",
    "Catalogue",
    "CopiedStore",
    "FileSnapshots",
    "Fitting",
    "Manifest",
    "MemorySnapshots",
    "Offload",
    "OwnLoop",
    "Place",
    "Request",
    "Retention",
    "SnapshotName",
    "SnapshotReader",
    "SnapshotStorage",
    "choose_to_replay",
    "choose_to_restore",
    "in_thread",
    "inline",
]
