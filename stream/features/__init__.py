"""Step 5: each event folded into its voter's record, and one feature row for each."""

from stream.features.catalogue import FEATURES, Feature, catalogue
from stream.features.description import Field, describe
from stream.features.kernels import fold, read_rows

__all__ = ["FEATURES", "Feature", "Field", "catalogue", "describe", "fold", "read_rows"]
