"""Our books against fal's bills, request by request; nothing here moves a credit.

`bills` keeps what fal's billing events said, `classes` says what each request is by both books, `orphans` finds whose a
bill without an owner is, `run` does it all once and remembers how far it came, `figures` is what people read.
"""

from generations.reconciliation.figures import Line, Summary, last_run, rows, summary
from generations.reconciliation.run import Outcome, is_due, reconcile

__all__ = ["Line", "Outcome", "Summary", "is_due", "last_run", "reconcile", "rows", "summary"]
