"""The pages. The look-up is the permission check: what is not visible to a person does not exist for them."""

from generations.views.asking import ask
from generations.views.engines import engines
from generations.views.files import clip, picture, poster
from generations.views.late import keep
from generations.views.library import library
from generations.views.metrics import metrics
from generations.views.operations import (
    operations,
    operations_give_up,
    operations_look,
    operations_probe,
    operations_probe_engine,
    operations_sweep,
)
from generations.views.receipts import receipt, receipt_file
from generations.views.reconciliation import bills, bills_file
from generations.views.reordering import reorder
from generations.views.reports import reports, reports_file
from generations.views.requests import request, request_by_mail, request_withdraw, requests
from generations.views.shell import stream, theme
from generations.views.show import cancel, show
from generations.views.studio import fields, generate, quote, studio, upload
from generations.views.updates import updates

__all__ = [
    "ask",
    "bills",
    "bills_file",
    "cancel",
    "clip",
    "engines",
    "fields",
    "generate",
    "keep",
    "library",
    "metrics",
    "operations",
    "operations_give_up",
    "operations_look",
    "operations_probe",
    "operations_probe_engine",
    "operations_sweep",
    "picture",
    "poster",
    "quote",
    "receipt",
    "receipt_file",
    "reorder",
    "reports",
    "reports_file",
    "request",
    "request_by_mail",
    "request_withdraw",
    "requests",
    "show",
    "stream",
    "studio",
    "theme",
    "updates",
    "upload",
]
