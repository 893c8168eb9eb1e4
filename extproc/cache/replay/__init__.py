"""A kept answer on its way to a client, as JSON or as a stream, whichever way it first came.

`events` writes an answer as its API streams it; `fold` puts a stream together again. Folding what
`events` wrote gives the answer back. An answer goes out with the id it came with: what a provider
keeps of it can be asked for by that id, and who gets an answer twice can see that it is one.
"""

from extproc.cache.replay.door import Asker, events, fold, kept, whole

__all__ = ["Asker", "events", "fold", "kept", "whole"]
