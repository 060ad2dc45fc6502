"""Step 5: each event folded into its voter's record, and one feature row for each."""

from stream.features.catalogue import FEATURES, Feature, catalogue
from stream.features.current import current_row
from stream.features.description import Field, describe
from stream.features.kernels import fold, read_rows

__all__ = ["FEATURES", "Feature", "Field", "catalogue", "current_row", "describe", "fold", "read_rows"]
