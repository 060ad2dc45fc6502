"""Labels: what is to be foretold of a voter, in words such as ``donation.completed where method=online within 14d``.

    LABEL      = TYPE {"or" TYPE} ["where" CONDITIONS] ["among" CONDITIONS] "within" DURATION
    TYPE       = an event's type, or the beginning of some: ``social.*``
    CONDITIONS = CONDITION {"and" CONDITION}
    CONDITION  = FIELD [("=" | "!=" | "<" | "<=" | ">" | ">=") VALUE]
    VALUE      = a word, or any text between double quotes
    DURATION   = a whole number, then "s", "m", "h", "d" or "w"

A condition is about a field of the event's data; a field that is not given fits no condition, not even ``!=``, and one
without an operator is fit once it is given. Fields that the taxonomy decides (``stream.commands.classes``: a donation's
method, a message's channel, ...) are compared by class, as features have them: by the taxonomy that was active at the
event's place in the log, so that ``method=online`` is also what came in by card. The label is 1 where an event of a
type that fits all that stands behind ``where`` comes within the duration. With ``among`` it is the first event that
fits what stands there which decides, whichever way, and without such an event nothing is known: answers of a survey,
say, of which most voters give none.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from stream.commands.classes import CLASSED, OTHER, listed_in
from stream.errors import ConfigurationError, quoted
from stream.events.field_kernels import CHOICE, FLAG, INTEGER, NUMBER
from stream.events.fields import FIELDS, Rule
from stream.features.taxonomy import Taxonomy
from stream.records import EVENT_TYPES, KIND

_CONTROL: Final = ("clock.tick", "config.activated", "keys.rotated")
_BARRING: Final = ("privacy.erased", "consent.withdrawn")
LABEL_TYPES: Final = tuple(name for name in EVENT_TYPES if name not in {*_CONTROL, *_BARRING})
"""The types that a label may be about: of voters who were erased or withdrew consent there are no rows."""

_OPEN_TYPE: Final = "profile.updated"
"""May have any field: what surveys and voter files bring is theirs to name."""
_TOKEN: Final = re.compile(r'\s*(?:"([^"]*)"|(<=|>=|!=|=|<|>)|([^\s"<>=!]+))')
_DURATION: Final = re.compile(r"([1-9][0-9]{0,5})([smhdw])", re.ASCII)
_UNIT_MS: Final[Mapping[str, int]] = {
    "s": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
}
_NUMBER: Final = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)
_SHOWN: Final = 300
_LISTED: Final = 20
"""Most names of a list that an error shows."""
_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_WORDS: Final = frozenset({"or", "where", "and", "among", "within"})


@dataclass(frozen=True, slots=True)
class Condition:
    """What one field of an event's data must be."""

    field: str
    comparison: str = ""
    """Empty: it must be given."""
    value: bool | float | str = ""
    listed: str = ""
    """The taxonomy's list whose name the value is; empty: another sort of value."""

    def holds(self, data: Mapping[str, Any]) -> bool:
        """Return whether an event's data fits; a value of another type (true, number, text) than the condition's never.

        ``data`` is parsed JSON, with classes where the taxonomy decides (``classes.by_class``).
        """
        found = data.get(self.field)
        if found is None or not self.comparison:
            return found is not None
        if isinstance(self.value, bool) or isinstance(found, bool):
            comparable = isinstance(self.value, bool) and isinstance(found, bool)
        elif isinstance(self.value, str):
            comparable = isinstance(found, str)
        else:
            comparable = isinstance(found, int | float)
        return comparable and _COMPARISONS[self.comparison](found, self.value)

    def __str__(self) -> str:
        """Return the condition as it is written in a label."""
        if not self.comparison:
            return self.field
        if isinstance(self.value, bool):
            text = str(self.value).lower()
        elif isinstance(self.value, float):
            text = f"{self.value:.15g}"
        else:
            text = f'"{self.value}"'
        return f"{self.field}{self.comparison}{text}"


@dataclass(frozen=True, slots=True)
class Label:
    """What is to be foretold."""

    types: tuple[str, ...]
    """In the order of their kind codes."""
    horizon_ms: int
    where: tuple[Condition, ...] = ()
    among: tuple[Condition, ...] = ()
    text: str = ""
    """As it was given."""

    @classmethod
    def parse(cls, text: str) -> Label:
        """Read a label; raise ConfigurationError, quoting it and naming the place, for any other text."""
        return _Parser(text).label()

    @property
    def kinds(self) -> tuple[int, ...]:
        """The types' kind codes."""
        return tuple(KIND[name] for name in self.types)

    @property
    def reads_data(self) -> bool:
        """Whether anything of an event but its type matters."""
        return bool(self.where or self.among)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All there are."""
        return (*self.where, *self.among)

    @property
    def reads_classes(self) -> bool:
        """Whether a condition is about a field that the taxonomy decides."""
        return any(condition.field in CLASSED[name] for condition in self.conditions for name in self.types)

    def require_listed(self, taxonomies: Sequence[Taxonomy]) -> None:
        """Raise ConfigurationError for a name that stands in no such list of these taxonomies, with those that do."""
        for condition in self.conditions:
            names = listed_in(taxonomies, condition.listed) if condition.listed else ()
            if condition.listed and condition.value not in (*names, OTHER):
                message = (
                    f"label {quoted(self.text, _SHOWN)}: {condition.field} is {quoted(condition.value)}, expected one "
                    f"of the {condition.listed} that the taxonomy lists: {_some(names, OTHER)}"
                )
                raise ConfigurationError(message)

    def judge(self, data: object) -> bool | None:
        """Return what an event of such a type with this data decides; None: nothing.

        ``data`` is parsed JSON, with classes where the taxonomy decides.
        """
        fields: Mapping[str, Any] = data if isinstance(data, dict) else {}
        fits = all(condition.holds(fields) for condition in self.where)
        if self.among:
            return fits if all(condition.holds(fields) for condition in self.among) else None
        return True if fits else None


def _some(names: Sequence[str], *last: str) -> str:
    return ", ".join([*names[:_LISTED], *(["..."] if len(names) > _LISTED else []), *last])


def duration_ms(text: str) -> int | None:
    """Return a duration such as ``45s``, ``30m``, ``12h``, ``14d`` or ``2w`` in ms, None for any other text."""
    match = _DURATION.fullmatch(text)
    return None if match is None else int(match[1]) * _UNIT_MS[match[2]]


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    place: int
    """Of its first character, from 1."""
    sort: str
    """``word``, ``text`` (was between quotes), ``operator`` or ``end``."""

    def is_word(self, *words: str) -> bool:
        return self.sort == "word" and self.text in words


class _Parser:
    """Reads a label from left to right, a token at a time."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split()
        self._next = 0

    def label(self) -> Label:
        types = self._types()
        where = self._conditions(types) if self._take_word("where") else ()
        among = self._conditions(types) if self._take_word("among") else ()
        if not self._take_word("within"):
            open_to = ["'and'"] if where or among else ["'or'", "'where'"]
            if not among:
                open_to.append("'among'")
            self._refuse(self._tokens[self._next], f"{', '.join(open_to)} or 'within'")
        last = self._take()
        horizon_ms = duration_ms(last.text) if last.sort == "word" else None
        if horizon_ms is None:
            self._refuse(last, "a duration such as 14d, 12h, 30m")
        end = self._take()
        if end.sort != "end":
            self._refuse(end, "the end of the label")
        return Label(types, horizon_ms, where, among, self._text)

    def _types(self) -> tuple[str, ...]:
        found = set(self._type())
        while self._take_word("or"):
            found.update(self._type())
        return tuple(name for name in LABEL_TYPES if name in found)

    def _type(self) -> list[str]:
        token = self._take()
        stem = token.text.removesuffix("*")
        is_stem = token.text.endswith(".*")
        found = [name for name in LABEL_TYPES if name == token.text or (is_stem and name.startswith(stem))]
        if token.sort != "word" or not found:
            self._refuse(token, f"a type of event: {', '.join(LABEL_TYPES)}")
        return found

    def _conditions(self, types: Sequence[str]) -> tuple[Condition, ...]:
        known: dict[str, Rule] = {}
        for name in types:
            known |= FIELDS[name]
        found = [self._condition(types, known)]
        while self._take_word("and"):
            found.append(self._condition(types, known))
        return tuple(found)

    def _condition(self, types: Sequence[str], known: Mapping[str, Rule]) -> Condition:
        name = self._take()
        classed = {field: one for kind in types for field, one in CLASSED[kind].items()}
        fields = list(dict.fromkeys([*known, *classed]))
        if name.sort != "word" or name.text in _WORDS or (name.text not in fields and _OPEN_TYPE not in types):
            self._refuse(name, f"a field of {' or '.join(types)}: {', '.join(fields) or 'there is none'}")
        if self._tokens[self._next].sort != "operator":
            return Condition(name.text)
        comparison = self._take()
        given = self._take()
        if given.sort not in {"word", "text"}:
            self._refuse(given, "a value, in double quotes if it holds spaces or signs")
        rule = known.get(name.text)
        value: bool | float | str
        if name.text in classed:
            value = self._class(given, name.text, types)
        else:
            value = self._undeclared(given) if rule is None else self._declared(given, rule)
        if comparison.text not in {"=", "!="} and not isinstance(value, float):
            self._refuse(comparison, f"= or !=, since {quoted(given.text)} is no number")
        return Condition(name.text, comparison.text, value, classed[name.text].listed if name.text in classed else "")

    def _class(self, given: _Token, field: str, types: Sequence[str]) -> str:
        """Return a class of a field; what a taxonomy lists is known only where one is at hand."""
        for kind in types:
            classed, rule = CLASSED[kind].get(field), FIELDS[kind].get(field)
            choices = classed.names if classed is not None else rule.choices if rule is not None else ()
            if choices and given.text not in choices:
                self._refuse(given, f"a class of {field}: {_some(choices)}")
        return given.text

    def _declared(self, given: _Token, rule: Rule) -> bool | float | str:
        """Return a value of the type that a field is known to have."""
        if rule.code == FLAG:
            if not given.is_word("true", "false"):
                self._refuse(given, "true or false")
            return given.text == "true"
        if rule.code in {INTEGER, NUMBER}:
            if given.sort != "word" or not _NUMBER.fullmatch(given.text):
                self._refuse(given, "a number")
            return float(given.text)
        if rule.code == CHOICE and given.text not in rule.choices:
            self._refuse(given, f"one of {', '.join(rule.choices)}")
        return given.text

    def _undeclared(self, given: _Token) -> bool | float | str:
        """Return a value of the type that its own spelling says."""
        if given.is_word("true", "false"):
            return given.text == "true"
        return float(given.text) if given.sort == "word" and _NUMBER.fullmatch(given.text) else given.text

    def _split(self) -> list[_Token]:
        tokens, place = list[_Token](), 0
        while self._text[place:].strip():
            match = _TOKEN.match(self._text, place)
            if match is None:
                start = place + len(self._text[place:]) - len(self._text[place:].lstrip())
                self._refuse(_Token(self._text[start:], start + 1, "word"), "words, and quotes in pairs")
            group = next(number for number in (1, 2, 3) if match[number] is not None)
            sort = ("text", "operator", "word")[group - 1]
            tokens.append(_Token(match[group], match.start(group) + (group != 1), sort))
            place = match.end()
        return [*tokens, _Token("", len(self._text) + 1, "end")]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    def _take_word(self, word: str) -> bool:
        if not self._tokens[self._next].is_word(word):
            return False
        self._take()
        return True

    def _refuse(self, token: _Token, expected: str) -> NoReturn:
        found = "its end" if token.sort == "end" else quoted(token.text)
        message = (
            f"label {quoted(self._text, _SHOWN)}: at character {token.place} there is {found}, expected {expected}"
        )
        raise ConfigurationError(message)
