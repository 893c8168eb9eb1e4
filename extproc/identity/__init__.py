"""Who is asking, and for whom.

The door: `attribution` reads whose request it is from what the client sends.
"""

from extproc.identity.attribution import attribution, user_hash
from extproc.records import ANONYMOUS, Attribution

__all__ = ["ANONYMOUS", "Attribution", "attribution", "user_hash"]
