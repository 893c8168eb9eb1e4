"""Who is asking, and for whom.

The doors: `Identify` finds out who asks; `Keyring` makes, changes and looks up the callers' keys;
`attribution` says whose request it is, as far as its caller may say so.
"""

from extproc.identity.attribution import attribution, user_hash
from extproc.identity.files import FileError, Imported
from extproc.identity.identify import (
    DENIED_AFTER,
    Callers,
    Identify,
    check_models,
    may_use,
)
from extproc.identity.keyring import Keyring, KeyStateError, UnknownKeyError
from extproc.identity.keys import PREFIX
from extproc.identity.mesh import Networks, Pattern, PatternError
from extproc.identity.record import FieldError, KeyRecord, rights
from extproc.identity.secret import KeySecret, SecretError
from extproc.identity.secret import load as load_secret
from extproc.records import ALL_FIELDS, ANONYMOUS, NOBODY, Attribution, Caller

__all__ = [
    "ALL_FIELDS",
    "ANONYMOUS",
    "DENIED_AFTER",
    "NOBODY",
    "PREFIX",
    "Attribution",
    "Caller",
    "Callers",
    "FieldError",
    "FileError",
    "Identify",
    "Imported",
    "KeyRecord",
    "KeySecret",
    "KeyStateError",
    "Keyring",
    "Networks",
    "Pattern",
    "PatternError",
    "SecretError",
    "UnknownKeyError",
    "attribution",
    "check_models",
    "load_secret",
    "may_use",
    "rights",
    "user_hash",
]
