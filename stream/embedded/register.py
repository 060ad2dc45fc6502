"""What the electorate's voter register says of people, what surveys ask them, and who voted: ``profile.updated``."""

from __future__ import annotations

from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

WARDS: Final = 12
AGE_BANDS: Final = ("18-24", "25-34", "35-44", "45-54", "55-64", "65+")
LANGUAGES: Final = ("en", "es", "zh", "vi", "tl", "ko", "fr", "ar", "de")
ZONES: Final = ("America/New_York", "America/Chicago", "America/Los_Angeles")
ANSWERS: Final = 5
"""Of a survey: 1, surely not, to 5, surely."""
SURVEYED: Final = WARDS * len(AGE_BANDS) * len(LANGUAGES)
"""The variant of the data that says answer 1; those before it are the register's."""
VOTED: Final = SURVEYED + ANSWERS
"""The variant that says that somebody stayed at home; the next says that they voted."""

_PER_BAND: Final = len(LANGUAGES)
_PER_WARD: Final = len(AGE_BANDS) * _PER_BAND


def profiles() -> list[dict[str, Any]]:
    """Return the variants of the data of ``profile.updated``: register, surveys, turnout."""
    register = [
        {
            "region": f"ward-{ward}",
            "age_band": band,
            "language": language,
            "time_zone": ZONES[ward * len(ZONES) // WARDS],
            "source": "voter_file",
        }
        for ward, band, language in product(range(WARDS), AGE_BANDS, LANGUAGES)
    ]
    surveys = [{"support": answer, "source": "survey"} for answer in range(1, ANSWERS + 1)]
    return [*register, *surveys, *({"turnout": voted, "source": "voter_file"} for voted in (False, True))]


def registered(wards: NDArray[np.int64], bands: NDArray[np.int64], languages: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the variants (int64[n]) that say people's ward, age band and language, by their places."""
    return wards * _PER_WARD + bands * _PER_BAND + languages
