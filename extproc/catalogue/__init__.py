"""What a model is: prices, context window, output cap, features, and a token estimate.

The door: `load()` reads the dated tables beside this file; `Catalogue.find` looks a model up;
`Catalogue.of` lays a target's own policy over it. A model the tables do not hold has no price:
its cost is unknown, not zero.
"""

from extproc.catalogue.estimate import estimate, estimate_text
from extproc.catalogue.price import NANO, PER, Price, compile_price
from extproc.catalogue.table import FEATURES, NEED, UNKNOWN, Catalogue, Model, load

__all__ = [
    "FEATURES",
    "NANO",
    "NEED",
    "PER",
    "UNKNOWN",
    "Catalogue",
    "Model",
    "Price",
    "compile_price",
    "estimate",
    "estimate_text",
    "load",
]
