"""What can be known of a level from the request alone."""

from __future__ import annotations

from extproc.catalogue import Model
from extproc.errors import Reason, Refusal


def misfit(
    model: Model, needs: frozenset[str], tokens: int, max_output: int | None
) -> Refusal | None:
    """Why `model` cannot serve, or None.

    `tokens` is the estimated input. Output counts too, as far as the client asked for it:
    providers refuse when both together pass the context window. Unknown facts never refuse.
    """
    window = model.context_window
    if window is not None and tokens + min(max_output or 0, model.output_cap or 0) > window:
        detail = f"about {tokens} input tokens do not fit a context window of {window}"
        return Refusal(Reason.CONTEXT, 400, detail=detail, param="messages")
    if lacking := model.lacking(needs):
        return Refusal(Reason.FEATURE, 400, detail=f"the model has no {', '.join(lacking)}")
    return None
