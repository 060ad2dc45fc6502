"""What rows say under a taxonomy: the texts, codes and numbers of their data to SIGNAL, and no text goes further."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.compiled import kernel, kernel_part
from stream.details import (
    ACCOUNT,
    ADDRESS,
    AGE_BAND,
    CHANNEL,
    COMMENT,
    DEVICE,
    ISSUE,
    LANGUAGE,
    METHOD,
    ORIGIN,
    REFERRER,
    REGION,
    ZONE,
)
from stream.features.visit_kernels import find_device, find_name, find_page, find_referrer, find_tag
from stream.features.word_kernels import AGAINST, FAVOUR, SUMS, weigh_text
from stream.records import KIND
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
ACCOUNTS, CHANNELS, DONATION_METHODS, ISSUES, REGIONS, AGE_BANDS, LANGUAGES, ZONES, SOURCES = NAME_BYTES

_FOLLOW, _COMMENT = KIND["social.follow"], KIND["social.comment"]
_PAGE_VIEW = KIND["site.page_view"]
_DONATION_STARTED, _DONATION_COMPLETED = KIND["donation.started"], KIND["donation.completed"]
_RSVP, _CANVASS, _PROFILE = KIND["event.rsvp"], KIND["canvass.contacted"], KIND["profile.updated"]
_FIRST_MESSAGE, _LAST_MESSAGE = KIND["message.delivered"], KIND["message.unsubscribed"]

_OTHER_SIDE, _OTHER_PAGE, _OTHER_ORIGIN = len(SIDES) - 1, len(PAGES) - 1, len(ORIGINS) - 1
_OTHER_DEVICE, _OTHER_CHANNEL, _OTHER_METHOD = len(DEVICES) - 1, len(MESSAGE_CHANNELS) - 1, len(METHODS) - 1
_MOST = 255
_WHOLE = 10

_SIDE, _ISSUE, _PAGE, _REFERRER, _TAG, _DEVICE, _METHOD, _CHANNEL, _REGION = (1 << place for place in range(9))
_AGE_BAND, _LANGUAGE, _ZONE, _SOURCE = (1 << place for place in range(9, len(UNKNOWN)))

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
def _name_at(
    buffer: NDArray[np.uint8],
    detail: Any,
    place: int,
    kind: int,
    lists: NDArray[np.uint8],
    goto: NDArray[np.int32],
    starts: NDArray[np.int64],
) -> int:
    """Return which pattern of a kind a detail's text is, -1 for none."""
    at, end = detail["starts"][place], detail["stops"][place]
    return find_name(buffer, at, end, lists, goto, NAMES, starts[NAMES], kind)


@kernel_part
def _read_social(
    buffer: NDArray[np.uint8],
    detail: Any,
    lists: NDArray[np.uint8],
    goto: NDArray[np.int32],
    starts: NDArray[np.int64],
    codes: NDArray[np.int64],
    signal: Any,
) -> int:
    """Say whose account it is, an @ before it aside, and its issue; return what is unknown, as in all parts below."""
    signal["side"] = _OTHER_SIDE
    at, end = detail["starts"][ACCOUNT], detail["stops"][ACCOUNT]
    if at < end and buffer[at] == 0x40:
        at += 1
    if at >= end:
        return 0
    found = find_name(buffer, at, end, lists, goto, NAMES, starts[NAMES], ACCOUNTS)
    if found < 0:
        return _SIDE
    signal["side"] = codes[found, 0]
    if codes[found, 1] >= 0:
        signal["issues"][codes[found, 1]] = _WHOLE
    return 0


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
    lists: NDArray[np.uint8],
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
def _band(
    buffer: NDArray[np.uint8],
    detail: Any,
    place: int,
    kind: int,
    lists: NDArray[np.uint8],
    goto: NDArray[np.int32],
    starts: NDArray[np.int64],
    codes: NDArray[np.int64],
    other: int,
) -> int:
    """Return 1 + the place of a profile's text in its list, ``other`` where it is not there, 0 where none is given."""
    at, end = detail["starts"][place], detail["stops"][place]
    if at >= end:
        return 0
    found = find_name(buffer, at, end, lists, goto, NAMES, starts[NAMES], kind)
    if found < 0 and kind == LANGUAGES:
        # Of a tag such as de-AT (BCP 47) the language alone, where the whole is not listed.
        stop = at
        while stop < end and buffer[stop] != 0x2D and buffer[stop] != 0x5F:
            stop += 1
        found = find_name(buffer, at, stop, lists, goto, NAMES, starts[NAMES], kind)
    return int(1 + codes[found, 0]) if found >= 0 else other


@kernel_part
def _read_profile(
    buffer: NDArray[np.uint8],
    detail: Any,
    lists: NDArray[np.uint8],
    goto: NDArray[np.int32],
    starts: NDArray[np.int64],
    codes: NDArray[np.int64],
    signal: Any,
) -> int:
    """Say what a profile's texts are among the taxonomy's lists."""
    region = _band(buffer, detail, REGION, REGIONS, lists, goto, starts, codes, OTHER_REGION)
    age_band = _band(buffer, detail, AGE_BAND, AGE_BANDS, lists, goto, starts, codes, OTHER_BAND)
    language = _band(buffer, detail, LANGUAGE, LANGUAGES, lists, goto, starts, codes, OTHER_BAND)
    zone = _band(buffer, detail, ZONE, ZONES, lists, goto, starts, codes, OTHER_BAND)
    source = _band(buffer, detail, ORIGIN, SOURCES, lists, goto, starts, codes, OTHER_BAND)
    signal["region"] = region
    signal["age_band"] = age_band
    signal["language"] = language
    signal["zone"] = zone
    signal["source"] = source
    unknown = _REGION if region == OTHER_REGION else 0
    unknown |= _AGE_BAND if age_band == OTHER_BAND else 0
    unknown |= _LANGUAGE if language == OTHER_BAND else 0
    unknown |= _ZONE if zone == OTHER_BAND else 0
    return unknown | (_SOURCE if source == OTHER_BAND else 0)


@kernel_part
def _read_donation(
    buffer: NDArray[np.uint8],
    detail: Any,
    lists: NDArray[np.uint8],
    goto: NDArray[np.int32],
    starts: NDArray[np.int64],
    codes: NDArray[np.int64],
    signal: Any,
) -> int:
    signal["amount"] = detail["amount"]
    if detail["starts"][METHOD] >= detail["stops"][METHOD]:
        return 0
    found = _name_at(buffer, detail, METHOD, DONATION_METHODS, lists, goto, starts)
    signal["method"] = codes[found, 0] if found >= 0 else _OTHER_METHOD
    return 0 if found >= 0 else _METHOD


@kernel
def read_signals(
    buffer: NDArray[np.uint8],
    details: NDArray[Any],
    kinds: NDArray[np.int64],
    lists: NDArray[np.uint8],
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
        found = 0
        kind = kinds[row]
        detail, signal = details[row], signals[row]
        if _FOLLOW <= kind <= _COMMENT:
            found = _read_social(buffer, detail, lists, goto, starts, codes, signal)
            if kind == _COMMENT:
                at, end = detail["starts"][COMMENT], detail["stops"][COMMENT]
                weigh_text(buffer, at, end, lists, goto, WORDS, starts[WORDS], shorter, patterns, weights, sums)
                _add_words(sums, signal)
        elif kind == _PAGE_VIEW:
            found = _read_visit(buffer, detail, lists, goto, starts, codes, signal)
        elif kind == _DONATION_STARTED or kind == _DONATION_COMPLETED:
            found = _read_donation(buffer, detail, lists, goto, starts, codes, signal)
        elif _FIRST_MESSAGE <= kind <= _LAST_MESSAGE:
            name = _name_at(buffer, detail, CHANNEL, CHANNELS, lists, goto, starts)
            signal["channel"] = codes[name, 0] if name >= 0 else _OTHER_CHANNEL
            found = 0 if name >= 0 else _CHANNEL
        elif kind == _RSVP:
            signal["answer"] = detail["code"]
        elif kind == _CANVASS:
            signal["support"] = detail["code"]
            if detail["starts"][ISSUE] < detail["stops"][ISSUE]:
                name = _name_at(buffer, detail, ISSUE, ISSUES, lists, goto, starts)
                if name >= 0:
                    signal["issues"][codes[name, 0]] = _WHOLE
                found = 0 if name >= 0 else _ISSUE
        elif kind == _PROFILE:
            found = _read_profile(buffer, detail, lists, goto, starts, codes, signal)
        unknown[row] = found
