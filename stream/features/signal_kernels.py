"""What rows say under a taxonomy: the texts, codes and numbers of their data to SIGNAL, and no text goes further."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel, kernel_part
from stream.details import ADDRESS, COMMENT, DEVICE, REFERRER, TEXTS
from stream.features.visit_kernels import find_device, find_name, find_page, find_referrer, find_tag
from stream.features.word_kernels import AGAINST, FAVOUR, SUMS, weigh_text
from stream.records import EVENT_TYPES, KIND
from stream.signals import (
    DEVICES,
    MAX_ISSUES,
    MESSAGE_CHANNELS,
    METHODS,
    ORIGINS,
    OTHER_BAND,
    OTHER_REGION,
    PAGES,
    SIDES,
    UNKNOWN,
)

# A taxonomy's lists.
WORDS, NAMES, PATHS, HOSTS, TAGS, DEVICE_WORDS = range(6)
LISTS = 6

NAME_BYTES = (0xC0, 0xC1, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA, 0xFB)
"""Bytes that UTF-8 never has: each begins the names of one kind."""
ACCOUNTS, CHANNELS, DONATION_METHODS, ISSUES, REGIONS, AGE_BANDS, LANGUAGES, ZONE_NAMES, SOURCES = NAME_BYTES

_FOLLOW, _COMMENT = KIND["social.follow"], KIND["social.comment"]
_PAGE_VIEW = KIND["site.page_view"]
_DONATION_STARTED, _DONATION_COMPLETED = KIND["donation.started"], KIND["donation.completed"]
_RSVP, _CANVASS = KIND["event.rsvp"], KIND["canvass.contacted"]

_OTHER_SIDE, _OTHER_PAGE, _OTHER_ORIGIN = len(SIDES) - 1, len(PAGES) - 1, len(ORIGINS) - 1
_OTHER_DEVICE, _OTHER_CHANNEL, _OTHER_METHOD = len(DEVICES) - 1, len(MESSAGE_CHANNELS) - 1, len(METHODS) - 1
_MOST = 255
_WHOLE = 10

_SIDE, _ISSUE, _PAGE, _REFERRER, _TAG, _DEVICE, _METHOD, _CHANNEL, _REGION = (1 << place for place in range(9))
_AGE_BAND, _LANGUAGE, _ZONE, _SOURCE = (1 << place for place in range(9, len(UNKNOWN)))


def _names_of() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return by kind code how many of its first texts are names, and by place their sort: of UNKNOWN, of NAME_BYTES."""
    names: dict[str, tuple[tuple[int, int], ...]] = {
        "donation": ((_METHOD, DONATION_METHODS),),
        "message": ((_CHANNEL, CHANNELS),),
        "social": ((_SIDE, ACCOUNTS),),
        "canvass": ((_ISSUE, ISSUES),),
        "profile": (
            (_REGION, REGIONS),
            (_AGE_BAND, AGE_BANDS),
            (_LANGUAGE, LANGUAGES),
            (_ZONE, ZONE_NAMES),
            (_SOURCE, SOURCES),
        ),
    }
    counts = np.zeros(len(EVENT_TYPES), np.int64)
    table = np.zeros((len(EVENT_TYPES), TEXTS, 2), np.int64)
    for kind, name in enumerate(EVENT_TYPES):
        here = names.get(name.partition(".")[0], ())
        counts[kind] = len(here)
        table[kind, : len(here)] = np.reshape(here, (len(here), 2))
    return counts, table


_NAMED, _NAMES_OF = _names_of()

_FNV_BASIS, _FNV_PRIME, _LOW_HALF = 0x811C9DC5, 0x01000193, 0xFFFFFFFF


@kernel_part
def _clear(signals: NDArray[Any], row: int) -> None:
    signal = signals[row]
    signal["amount"] = 0.0
    for issue in range(MAX_ISSUES):
        signal["issues"][issue] = 0
    signal["favour"] = 0
    signal["against"] = 0
    signal["side"] = 0
    signal["page"] = 0
    signal["origin"] = 0
    signal["device"] = 0
    signal["device_bit"] = 0
    signal["channel"] = 0
    signal["method"] = 0
    signal["support"] = 0
    signal["answer"] = 0
    signal["region"] = 0
    signal["age_band"] = 0
    signal["language"] = 0
    signal["zone"] = 0
    signal["source"] = 0


@kernel_part
def _device_bit(buffer: NDArray[np.uint8], at: int, end: int) -> int:
    """Return 1 to 16 by the bytes of a device, 0 for none: FNV-1a, 32 bits, its halves XORed (Fowler, Noll, Vo)."""
    if at >= end:
        return 0
    value = _FNV_BASIS
    for place in range(at, end):
        value = ((value ^ int(np.int64(buffer[place]))) * _FNV_PRIME) & _LOW_HALF
    return 1 + ((value >> 16 ^ value) & 15)


@kernel_part
def _add_words(sums: NDArray[np.int64], signal: Any) -> None:
    for issue in range(MAX_ISSUES):
        signal["issues"][issue] = min(signal["issues"][issue] + sums[issue], _MOST)
    signal["favour"] = min(sums[FAVOUR], _MOST)
    signal["against"] = min(sums[AGAINST], _MOST)


@kernel_part
def _read_visit(
    buffer: NDArray[np.uint8],
    detail: Any,
    lists: NDArray[np.int32],
    goto: NDArray[np.int32],
    starts: NDArray[np.int64],
    codes: NDArray[np.int64],
    signal: Any,
) -> int:
    """Say page, issue, origin and device; no address is ``other``, no referrer and no tag ``direct``."""
    unknown = 0
    signal["page"] = _OTHER_PAGE
    tag = -1
    at, end = detail["starts"][ADDRESS], detail["stops"][ADDRESS]
    if at < end:
        found = find_page(buffer, at, end, lists, goto, PATHS, starts[PATHS])
        if found < 0:
            unknown |= _PAGE
        else:
            signal["page"] = codes[found, 0]
            if codes[found, 1] >= 0:
                signal["issues"][codes[found, 1]] = _WHOLE
        tag = find_tag(buffer, at, end, lists, goto, TAGS, starts[TAGS])
    at, end = detail["starts"][REFERRER], detail["stops"][REFERRER]
    if tag >= 0:
        signal["origin"] = codes[tag, 0]
        if codes[tag, 0] == _OTHER_ORIGIN:
            unknown |= _TAG
    elif at < end:
        found = find_referrer(buffer, at, end, lists, goto, HOSTS, starts[HOSTS])
        signal["origin"] = codes[found, 0] if found >= 0 else _OTHER_ORIGIN
        if found < 0:
            unknown |= _REFERRER
    signal["device"] = _OTHER_DEVICE
    at, end = detail["starts"][DEVICE], detail["stops"][DEVICE]
    if at < end:
        found = find_device(buffer, at, end, lists, goto, DEVICE_WORDS, starts[DEVICE_WORDS])
        if found < 0:
            unknown |= _DEVICE
        else:
            signal["device"] = codes[found, 0]
        signal["device_bit"] = _device_bit(buffer, at, end)
    return unknown


@kernel_part
def _find_listed(
    buffer: NDArray[np.uint8],
    at: int,
    end: int,
    lists: NDArray[np.int32],
    goto: NDArray[np.int32],
    starts: NDArray[np.int64],
    kind: int,
) -> int:
    """Find a name; of a tag such as de-AT (BCP 47) the language alone, where the whole is not listed."""
    found = -1
    while found < 0 and at < end:
        found = find_name(buffer, at, end, lists, goto, NAMES, starts[NAMES], kind)
        stop = at
        if kind == LANGUAGES:
            while stop < end and buffer[stop] != 0x2D and buffer[stop] != 0x5F:
                stop += 1
        end = stop if stop < end else at
    return found


@kernel_part
def _say_name(signal: Any, name: int, code: int, issue: int) -> int:
    """Say what the name of a sort stands for (-1: it is not listed), and its issue; return what is unknown."""
    if issue >= 0:
        signal["issues"][issue] = _WHOLE
    if name == _ISSUE:
        if code >= 0:
            signal["issues"][code] = _WHOLE
    elif name == _SIDE:
        signal["side"] = code if code >= 0 else _OTHER_SIDE
    elif name == _CHANNEL:
        signal["channel"] = code if code >= 0 else _OTHER_CHANNEL
    elif name == _METHOD:
        signal["method"] = code if code >= 0 else _OTHER_METHOD
    elif name == _REGION:
        signal["region"] = 1 + code if code >= 0 else OTHER_REGION
    else:
        band = 1 + code if code >= 0 else OTHER_BAND
        if name == _AGE_BAND:
            signal["age_band"] = band
        elif name == _LANGUAGE:
            signal["language"] = band
        elif name == _ZONE:
            signal["zone"] = band
        else:
            signal["source"] = band
    return name if code < 0 else 0


@kernel_part
def _read_names(
    buffer: NDArray[np.uint8],
    detail: Any,
    lists: NDArray[np.int32],
    goto: NDArray[np.int32],
    starts: NDArray[np.int64],
    codes: NDArray[np.int64],
    kind: int,
    signal: Any,
) -> int:
    """Say what the names in a row's details stand for, those that the kind of event has; return what is unknown."""
    unknown = 0
    for place in range(_NAMED[kind]):
        at, end = detail["starts"][place], detail["stops"][place]
        name, sort = _NAMES_OF[kind, place, 0], _NAMES_OF[kind, place, 1]
        # An account's name stands with or without an @ before it.
        if sort == ACCOUNTS and at < end and buffer[at] == 0x40:
            at += 1
        if at < end:
            found = _find_listed(buffer, at, end, lists, goto, starts, sort)
            code, issue = -1, -1
            if found >= 0:
                code, issue = codes[found, 0], codes[found, 1]
            unknown |= _say_name(signal, name, code, issue)
    return unknown


@kernel
def read_signals(
    buffer: NDArray[np.uint8],
    details: NDArray[Any],
    kinds: NDArray[np.int64],
    lists: NDArray[np.int32],
    goto: NDArray[np.int32],
    starts: NDArray[np.int64],
    codes: NDArray[np.int64],
    shorter: NDArray[np.int32],
    patterns: NDArray[Any],
    weights: NDArray[Any],
    first: int,
    stop: int,
    signals: NDArray[Any],
    unknown: NDArray[np.uint16],
) -> None:
    """Write what the rows from ``first`` to before ``stop`` say into ``signals`` (SIGNAL[n]), in place.

    ``buffer`` (uint8) and ``details`` (DETAIL[n]) are what reading left, ``kinds`` int64[n]; the arrays behind them
    are a taxonomy's, as ``stream.features.compiling`` lays them out. ``unknown`` (uint16[n]) is written likewise: bit
    k says that the row has a text of the sort UNKNOWN[k] that the taxonomy does not list, which falls to ``other``.
    """
    sums = np.empty(SUMS, np.int64)
    for row in range(first, stop):
        _clear(signals, row)
        kind = kinds[row]
        unknown[row] = 0
        if kind < 0:
            continue
        detail, signal = details[row], signals[row]
        found = 0
        if _FOLLOW <= kind <= _COMMENT:
            signal["side"] = _OTHER_SIDE
        elif kind == _PAGE_VIEW:
            found = _read_visit(buffer, detail, lists, goto, starts, codes, signal)
        elif kind == _DONATION_STARTED or kind == _DONATION_COMPLETED:
            signal["amount"] = detail["amount"]
        elif kind == _RSVP:
            signal["answer"] = detail["code"]
        elif kind == _CANVASS:
            signal["support"] = detail["code"]
        found |= _read_names(buffer, detail, lists, goto, starts, codes, kind, signal)
        if kind == _COMMENT:
            at, end = detail["starts"][COMMENT], detail["stops"][COMMENT]
            weigh_text(buffer, at, end, lists, goto, WORDS, starts[WORDS], shorter, patterns, weights, sums)
            _add_words(sums, signal)
        unknown[row] = found
