"""The link of a mail: it opens one request for one admin, who signs in as always, and only for a time.

It is signed and nothing is stored. It decides nothing by being opened, and of no more use than the request is: once
that is decided, by whatever way, the link shows what was decided.
"""

from __future__ import annotations

import uuid

from django.core import signing

from accounts.models import User
from generations.asking.errors import LinkNotGood
from generations.asking.making import OPEN_FOR
from generations.models import CreditRequest

# A dot, for the colon that Django would use ends an address in some mail programs.
_signer = signing.TimestampSigner(sep=".", salt="generations.asking.links")


def token(request: CreditRequest, admin: User) -> str:
    return _signer.sign_object([str(request.pk), admin.pk])


def follow(text: str, *, user: User) -> uuid.UUID:
    """The request a link opens for this user. Raises `LinkNotGood`."""
    try:
        pk, admin = _signer.unsign_object(text, max_age=OPEN_FOR)
    except signing.BadSignature as error:
        raise LinkNotGood from error
    if admin != user.pk:
        raise LinkNotGood
    return uuid.UUID(pk)
