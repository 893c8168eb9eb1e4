"""What is summed up from records, and how it is asked.

The doors: `entry_of` (with `Bounds`) for what a record adds to the ledger; `question` and `usage`
for what was used; `report` for what routes that only observe would have done; `story` for one
request.
"""

from extproc.accounting.rollup.answer import Answer, AnswerRow
from extproc.accounting.rollup.entries import Bounds, Limits, entry_of
from extproc.accounting.rollup.query import usage
from extproc.accounting.rollup.question import (
    Condition,
    Question,
    QuestionError,
    moment,
    question,
)
from extproc.accounting.rollup.report import Report, report
from extproc.accounting.rollup.story import Story, story
from extproc.accounting.rollup.views import DIMENSIONS, OTHER, VIEWS

__all__ = [
    "DIMENSIONS",
    "OTHER",
    "VIEWS",
    "Answer",
    "AnswerRow",
    "Bounds",
    "Condition",
    "Limits",
    "Question",
    "QuestionError",
    "Report",
    "Story",
    "entry_of",
    "moment",
    "question",
    "report",
    "story",
    "usage",
]
