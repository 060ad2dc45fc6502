"""What a split does with a missing value, and what follows a sum: said once, for files, layouts and kernels."""

from typing import Final

import numpy as np

AS_ZERO: Final = 0
"""A missing value counts as 0."""
TO_LEFT: Final = 1
TO_RIGHT: Final = 2
ZERO_TO_LEFT: Final = 3
"""Zero (to 1e-35) counts as missing, and missing goes to the left."""
ZERO_TO_RIGHT: Final = 4
RULES: Final = ("as_zero", "to_left", "to_right", "zero_to_left", "zero_to_right")
"""What a split does with a missing value; a rule's place is its code."""

ZERO: Final = np.float32(1e-35)
"""LightGBM's kZeroThreshold, as a single."""
MISSING: Final = np.float32(np.nan)

LINKS: Final = ("identity", "logistic", "exp")
"""What follows the sum and its calibration; a link's place is its code."""
