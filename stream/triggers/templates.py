"""What the triggers of a campaign have in common: a CloudEvent 1.0 (structured JSON) with places for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from stream.triggers.files import Campaign

_JSON: Final = orjson.Fragment(b"%b")
_NUMBER: Final = orjson.Fragment(b"%d")


def template(campaign: Campaign, version: str, model_versions: Mapping[str, str]) -> bytes:
    """Return a campaign's trigger with printf-style places (bytes' ``%``) for what differs from one to the next.

    In the order of the places: partition and offset; topic and partition; the subject as JSON; the member ``time``
    with its comma before it, or nothing; sequence; the scores before and after as JSON; the cause's id and source
    as JSON, its type, time, partition and offset; log time in ms; sequence; the scores, and the cause's type, for
    ``why``; the contributions as JSON. ``version`` is the campaign's, ``model_versions`` the sha256 by which every
    active model scores this voter, by name, in slot order.
    """
    name, model = _literal(campaign.name), _literal(campaign.model)
    verb = "rose" if campaign.direction == "up" else "fell"
    head: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"%d-%d-{name}",
        "source": "/%b/%d",
        "type": "campaign.triggered",
        "subject": _JSON,
    }
    data: dict[str, Any] = {
        "campaign": name,
        "campaign_version": _literal(version),
        "model": model,
        "models": {_literal(key): _literal(value) for key, value in model_versions.items()},
        "score_before": _JSON,
        "score_after": _JSON,
        "cause": {"id": _JSON, "source": _JSON, "type": "%b", "time": "%b", "partition": _NUMBER, "offset": _NUMBER},
        "log_time_ms": _NUMBER,
        "sequence": _NUMBER,
        "why": f"{model} {verb} from %.4f to %.4f and crossed {campaign.threshold!r} after %b",
        "contributions": _JSON,
        "action": {_literal(key): _literal(value) for key, value in campaign.action},
    }
    tail = {"datacontenttype": "application/json", "sequence": "%d", "data": data}
    return orjson.dumps(head)[:-1] + b"%b," + orjson.dumps(tail)[1:]


def _literal(text: str) -> str:
    """Return a text as it must be written to come out of the template as it is."""
    return text.replace("%", "%%")
