"""What the admin port does with the cache: look, count, forget, move.

The door: `CacheAdmin` is what it needs, `Entries` its routes.
"""

from extproc.admin.cache.access import CacheAdmin
from extproc.admin.cache.routes import Entries

__all__ = ["CacheAdmin", "Entries"]
