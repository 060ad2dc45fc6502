"""Step 7: campaigns compiled to arrays, crossings found, triggers composed."""

from stream.triggers.compiling import Campaigns, compile_campaigns, decide
from stream.triggers.composing import compose
from stream.triggers.contributing import spell
from stream.triggers.files import Campaign, read_campaign

__all__ = ["Campaign", "Campaigns", "compile_campaigns", "compose", "decide", "read_campaign", "spell"]
