"""What events say by the taxonomy of their place in the log, in the words that labels compare: classes and names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from stream.features import NO_TAXONOMY, taxonomy_of
from stream.features.taxonomy import Taxonomy
from stream.interfaces import Library
from stream.records import EVENT_TYPES, Activation
from stream.signals import DEVICES, MESSAGE_CHANNELS, METHODS, ORIGINS, PAGES, SIDES
from stream.zones import ZONES

OTHER: Final = "other"
"""What is given and not listed."""


@dataclass(frozen=True, slots=True)
class Classed:
    """A field of labels that the taxonomy decides, as it decides the features of the same events."""

    given: str
    """The field of data that it is about; empty: it stands for something in every event."""
    signal: str
    """Of SIGNAL, where its code is."""
    choices: tuple[str, ...] = ()
    """The classes by code, as the code of this build has them; an empty one is no class."""
    listed: str = ""
    """In their place, the taxonomy's list: ``issues``, or a key of its profile."""

    @property
    def names(self) -> tuple[str, ...]:
        """What classes there are whatever the taxonomy lists."""
        return tuple(name for name in self.choices if name)

    def is_given(self, data: Mapping[str, Any]) -> bool:
        """Return whether an event's data says anything that it is about; an empty issue is none, as for features."""
        text = data.get(self.given) if self.given else self.signal
        return text is not None and not (self.listed == "issues" and text == "")

    def said(self, signal: Any, taxonomy: Taxonomy) -> str | None:
        """Return the class that an event's signal (of SIGNAL) says; None: none."""
        if self.listed == "issues":
            places = np.flatnonzero(signal["issues"])
            return taxonomy.issues[int(places[0])] if len(places) else OTHER
        # 0 of what is listed is what was not said.
        names: Sequence[str] = ("", *listed_by(taxonomy, self.listed)) if self.listed else self.choices
        code = int(signal[self.signal])
        return (names[code] or None) if code < len(names) else OTHER


_TABLE: Final[Mapping[str, Mapping[str, Classed]]] = {
    "social": {"side": Classed("account", "side", SIDES)},
    "site": {
        "page": Classed("url", "page", PAGES),
        "origin": Classed("", "origin", ORIGINS),
        "device": Classed("device", "device", DEVICES),
    },
    "donation": {"method": Classed("method", "method", METHODS)},
    "message": {"channel": Classed("channel", "channel", MESSAGE_CHANNELS)},
    "canvass": {"issue": Classed("issue", "issues", listed="issues")},
    "profile": {
        "region": Classed("region", "region", listed="regions"),
        "age_band": Classed("age_band", "age_band", listed="age_bands"),
        "language": Classed("language", "language", listed="languages"),
        "time_zone": Classed("time_zone", "zone", ("", *ZONES, OTHER)),
        "source": Classed("source", "source", listed="sources"),
    },
}
CLASSED: Final[Mapping[str, Mapping[str, Classed]]] = {
    name: _TABLE.get(name.partition(".")[0], {}) for name in EVENT_TYPES
}
"""By type of event, its fields that labels compare by class; ``side``, ``page`` and ``origin`` are no data's."""


def listed_by(taxonomy: Taxonomy, listed: str) -> tuple[str, ...]:
    """Return the names of one of a taxonomy's lists."""
    return taxonomy.issues if listed == "issues" else taxonomy.profile.get(listed, ())


def by_class(kind: int, data: Mapping[str, Any], signal: Any, taxonomy: Taxonomy) -> Mapping[str, Any]:
    """Return an event's data with the class in the place of each field that the taxonomy decides; None: it says none.

    ``kind`` is its type's code, ``signal`` (of SIGNAL) and ``taxonomy`` are of its place in the log. Data may carry
    more fields than it should: one of a class's name counts for nothing.
    """
    said = {
        name: classed.said(signal, taxonomy) if classed.is_given(data) else None
        for name, classed in CLASSED[EVENT_TYPES[kind]].items()
    }
    return {**data, **said} if said else data


def activated(activation: Activation, library: Library) -> Taxonomy:
    """Return the taxonomy that an activation, which took effect, makes active."""
    for content in activation.contents:
        if content.kind == "taxonomy":
            return taxonomy_of(library.get(content) or b"").taxonomy
    return NO_TAXONOMY.taxonomy


def listed_in(taxonomies: Iterable[Taxonomy], listed: str) -> tuple[str, ...]:
    """Return the names of a list that any of the taxonomies has, in the order in which they come first."""
    return tuple(dict.fromkeys(name for one in taxonomies for name in listed_by(one, listed)))
