"""Step 5: what events say under a taxonomy, each folded into its voter's record, and one feature row for each."""

from stream.features.catalogue import FEATURES, Feature, catalogue
from stream.features.compiling import NO_TAXONOMY, CompiledTaxonomy, count_unknown, taxonomy_of
from stream.features.description import Field, describe
from stream.features.kernels import fold, read_rows

__all__ = [
    "FEATURES",
    "NO_TAXONOMY",
    "CompiledTaxonomy",
    "Feature",
    "Field",
    "catalogue",
    "count_unknown",
    "describe",
    "fold",
    "read_rows",
    "taxonomy_of",
]
