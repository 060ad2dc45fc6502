"""Variables of the environment that set nothing: mistyped, they would leave what they were meant for at its default."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from functools import cache
from typing import Final

from stream.errors import ConfigurationError, quoted
from stream.settings.sources import PREFIX, variable_of

FILE: Final = f"{PREFIX}CONFIG"
"""Names the settings file."""
_OWN: Final = frozenset(f"{PREFIX}{name}" for name in ("KAFKA_JARS", "OWN_MOUNTS", "SHOW_LOGS"))
_OF_TESTS: Final = f"{PREFIX}TEST_"
_BETWEEN: Final = "__"
_NEAR: Final = 0.75
"""Of ``SequenceMatcher.ratio``: a letter or two of a short name."""

_OF_SERVICE: Final = re.compile(r"(.+?)_(?:SERVICE_HOST|SERVICE_PORT.*|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP).*)?)")

_log = logging.getLogger(__name__)


def require_known(names: Iterable[str], keys: Collection[str]) -> None:
    """Raise ConfigurationError, quoting each, for variables that are mistyped settings; warn of others, once.

    ``names`` are all of the environment, in any case; ``keys`` are the settings' dotted keys. Unknown keys of a group
    that there is are left to whoever reads it. A platform may inject names that only look like ours, as Kubernetes does
    for a Service ``groundswell``: those are no errors.
    """
    ours = {name.upper(): name for name in names if name.upper().startswith(PREFIX)}
    groups = sorted({key.partition(".")[0] for key in keys if "." in key})
    known = {variable_of(key) for key in (*keys, *groups)} | {FILE} | _OWN
    odd, wrong = list[str](), list[str]()
    for name, given in sorted(ours.items()):
        group, between, _ = name.removeprefix(PREFIX).partition(_BETWEEN)
        if name in known or name.startswith(_OF_TESTS) or (between and group.lower() in groups):
            continue
        meant = _meant(name, keys)
        if (between or meant is not None) and not _is_service(name, ours):
            what = f"environment variable {quoted(given)} sets nothing"
            expected = f"{meant}, which is probably meant" if meant else f"a group of settings ({', '.join(groups)})"
            wrong.append(f"{what}, expected {expected}")
        else:
            odd.append(given)
    if wrong:
        raise ConfigurationError("\n".join(wrong))
    if odd:
        _warn(tuple(odd))


def _meant(name: str, keys: Collection[str]) -> str | None:
    """Return the variable that is probably meant; None: it cannot be told."""
    variables = [variable_of(key) for key in keys]
    by_words = {variable.replace(_BETWEEN, "_"): variable for variable in variables}
    flat = name.replace(_BETWEEN, "_")
    if flat in by_words:
        return by_words[flat]
    # Without a group: what platforms inject has one word after another, as a setting of a group would.
    likely = variables if _BETWEEN in name else [FILE, *(each for each in variables if _BETWEEN not in each)]
    near = get_close_matches(name.removeprefix(PREFIX), [each.removeprefix(PREFIX) for each in likely], 1, _NEAR)
    return f"{PREFIX}{near[0]}" if near else None


def _is_service(name: str, others: Collection[str]) -> bool:
    """Return whether a variable is what Kubernetes gives for the host or a port of a Service, ``groundswell-web``."""
    service = _OF_SERVICE.fullmatch(name)
    return service is not None and f"{service[1]}_SERVICE_HOST" in others


@cache
def _warn(names: tuple[str, ...]) -> None:
    """Log a warning, once in a process for the same names."""
    _log.warning("the environment holds what is no setting: %s", ", ".join(names))
