"""The limits' store of a single process: counters, reservations and the queue in its own memory.

`counting` is the arithmetic of a counter, `windows` and `trend` that of the kinds that need more,
`counts` all of them by key; `asks` says whether an ask fits and what it holds, `turns` in which
order requests wait. `limits` is the store: `MemoryLimits`.
"""
