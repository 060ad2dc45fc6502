"""Models of several classes: one of them is what a model file scores."""

from __future__ import annotations

from typing import Final

from stream.errors import ConfigurationError, quoted

MAX_CLASSES: Final = 1000
SHARED: Final = (
    "softmax makes each class's score of all classes' sums, and a model has one sum here: train one model for each "
    "class, against all others"
)


def class_of(classes: int, number: int | None, what: str) -> int:
    """Return the class that is scored, from 0; ``number`` is the one that was asked for (None: none was).

    Raises ConfigurationError, saying what is there, where there are several and none of them was asked for, and where
    there is one.
    """
    if classes == 1 and number is None:
        return 0
    if classes == 1:
        message = f"{what} has one score, expected no --class, which is {quoted(number)}"
        raise ConfigurationError(message)
    if number is None or not 0 <= number < classes:
        given = "" if number is None else f", and --class is {quoted(number)}"
        message = f"{what} has {classes} classes{given}: say which one is scored by --class, from 0 to {classes - 1}"
        raise ConfigurationError(message)
    return number
