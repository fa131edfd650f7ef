"""Mails about requests: to the admins when one is made, to the member when it is decided.

The row says that its news is due; a worker takes it for a while, sends, and strikes it off. A worker that is killed in
between is followed by another, so a mail may come twice and never not at all, unless the mail server refuses it for
good: after some tries the pages have to do.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.core.mail import EmailMessage, get_connection
from django.db.models import F
from django.template.loader import render_to_string
from django.urls import reverse

from accounts import clock
from accounts.models import Membership, User
from accounts.models.people import Role
from generations.asking.links import token
from generations.models import CreditRequest

log = logging.getLogger(__name__)

MOST_TRIES = 6
AGAIN = timedelta(minutes=5)


def mail(request_id: str) -> bool:
    """Send what is due about one request; whether anything was sent. Safe to run twice at once."""
    now = clock.now()
    taken = CreditRequest.objects.filter(pk=request_id, mail_due_at__lte=now)
    until = now + AGAIN
    if not taken.update(mail_due_at=until, mail_tries=F("mail_tries") + 1):
        return False
    row = CreditRequest.objects.select_related("team", "user", "generation").get(pk=request_id)
    # Decided meanwhile: its time is another by then, and stays.
    mine = CreditRequest.objects.filter(pk=row.pk, mail_due_at=until)
    try:
        get_connection().send_messages(list(_messages(row)))
    except OSError as error:
        log.warning("mails of %s did not go: %s", row.reference, error)
        if row.mail_tries >= MOST_TRIES:
            mine.update(mail_due_at=None)
        return False
    mine.update(mail_due_at=None)
    return True


def deciders(row: CreditRequest) -> list[User]:
    """The active admins of its team; whoever asked is one of them only if there is no other."""
    rows = Membership.objects.filter(team=row.team_id, role=Role.ADMIN, is_active=True, user__is_active=True)
    admins = [membership.user for membership in rows.select_related("user").order_by("pk")]
    return [admin for admin in admins if admin.pk != row.user_id] or admins


def _messages(row: CreditRequest) -> Iterator[EmailMessage]:
    if row.is_open:
        for admin in deciders(row):
            link = row.site_url + reverse("generations:request_by_mail", args=[token(row, admin)])
            subject = f"{row.user} asks for {row.quote_credits} credits"
            yield _message("asked", subject, admin, {"row": row, "link": link, "admin": admin})
    elif row.state != CreditRequest.State.WITHDRAWN:
        page = row.generation or row
        name = "generations:show" if row.generation else "generations:request"
        link = row.site_url + reverse(name, args=[page.pk])
        step = row.steps.exclude(kind="asked").select_related("actor").first()
        subject = f"Your request for {row.quote_credits} credits is {row.state_now}"
        yield _message("decided", subject, row.user, {"row": row, "link": link, "step": step})


def _message(name: str, subject: str, to: User, context: dict[str, Any]) -> EmailMessage:
    body = render_to_string(f"generations/request_{name}_mail.txt", context)
    return EmailMessage(" ".join(subject.split()), body, to=[to.email])
