"""Words and small pieces that templates need: credits, clocks, states, the theme, the place in the navigation."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import template
from django.contrib.humanize.templatetags.humanize import intcomma
from django.http import HttpRequest
from django.template.defaultfilters import date as date_format
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.timesince import timesince

from accounts.clock import now
from accounts.models import Entry, Membership
from accounts.models.money import Period
from generations.models import Breaker, CreditRequest, DispatchPause, Generation
from generations.views import words
from generations.views.access import may_cancel, may_reorder

register = template.Library()

THEMES = ("auto", "light", "dark")


@register.filter
def grouped(value: int | None) -> str:
    return intcomma(value or 0)


@register.filter
def credit_word(value: int | None) -> str:
    return "credit" if value == 1 else "credits"


@register.filter(name="credits")
def in_credits(value: int | None) -> str:
    """ "1 credit", "1,234 credits": a figure never stands without its unit."""
    return f"{grouped(value)} {credit_word(value)}"


@register.filter
def per(period: str) -> str:
    """ "per week", "in all": behind the credits of a budget."""
    return Period(period).per


@register.filter
def clock(seconds: float | None) -> str:
    return words.clock(seconds or 0)


@register.filter
def about(seconds: int) -> str:
    """ "1:45": a round figure for what usually takes so long."""
    return f"{seconds // 60}:{seconds % 60:02}"


@register.filter
def unlocalized(value: object) -> str:
    """A number for a machine: no thousands separator, no ".0"."""
    return f"{value:g}" if isinstance(value, float) else str(value)


@register.filter
def when(moment: datetime) -> str:
    """ "just now", "12 minutes ago"; after a day the date."""
    age = now() - moment
    if age < timedelta(minutes=1):
        return "just now"
    if age < timedelta(days=1):
        return f"{timesince(moment, depth=1)} ago".replace("\xa0", " ")
    return date_format(timezone.localtime(moment), "j M Y")


@register.filter
def cancelable_by(generation: Generation, membership: Membership | None) -> bool:
    return membership is not None and may_cancel(generation, membership)


@register.filter
def reorderable_by(generation: Generation, membership: Membership | None) -> bool:
    return membership is not None and may_reorder(generation, membership)


@register.filter
def wait_words(generation: Generation) -> str:
    return words.wait(generation)


@register.filter
def state_words(generation: Generation) -> str:
    return words.state(generation)


@register.filter
def money_words(generation: Generation) -> str:
    return words.money(generation)


@register.filter
def tone(generation: Generation) -> str:
    return words.tone(generation)


@register.filter
def progress(generation: Generation) -> words.Progress:
    return words.progress(generation)


@register.simple_tag
def dispatch_pause() -> DispatchPause | None:
    return DispatchPause.current()


@register.simple_tag
def outages() -> list[Breaker]:
    """The engines that do not work at fal just now, and for which something is waiting or was until a moment ago."""
    return [
        breaker for breaker in Breaker.objects.open().order_by("opened_at") if not breaker.is_untested(now())
    ]


@register.simple_tag
def open_requests(membership: Membership | None) -> int:
    """How many requests for more wait: in the whole team for an admin, of their own for a member."""
    if membership is None:
        return 0
    rows = CreditRequest.objects.filter(team=membership.team_id, state=CreditRequest.State.OPEN)
    rows = rows.filter(expires_at__gt=now())
    return (rows if membership.is_admin else rows.filter(user=membership.user_id)).count()


@register.filter
def outage_words(breaker: Breaker) -> str:
    return words.outage(breaker)


@register.filter
def next_try_words(breaker: Breaker) -> str:
    return words.next_try(breaker)


@register.filter
def held_back_words(generation: Generation) -> str:
    return words.outage_while_waiting(generation)


@register.filter
def is_held_back(generation: Generation) -> bool:
    return words.is_held_back(generation)


@register.simple_tag(takes_context=True)
def current_theme(context: dict[str, Any]) -> str:
    """What the cookie says, when it says something we know."""
    request: HttpRequest | None = context.get("request")
    wanted = request.COOKIES.get("theme", "") if request else ""
    return wanted if wanted in THEMES else "auto"


@register.simple_tag(takes_context=True)
def theme_attribute(context: dict[str, Any]) -> SafeString:
    theme = current_theme(context)
    return mark_safe("") if theme == "auto" else format_html(' data-theme="{}"', theme)


@register.inclusion_tag("_nav_link.html", takes_context=True)
def nav_link(context: dict[str, Any], name: str, label: str, icon: str) -> dict[str, Any]:
    """One entry of the main navigation; `aria-current` where we are. Nothing where the address does not exist."""
    try:
        url = reverse(name)
    except NoReverseMatch:
        return {"url": ""}
    match = getattr(context.get("request"), "resolver_match", None)
    return {"url": url, "label": label, "icon": icon, "is_current": bool(match and match.view_name == name)}


@register.filter
def entry_words(entry: Entry) -> str:
    """What an entry moved, in the words of its kind: "49 held", "49 captured", "49 returned"."""
    amount, word = {
        Entry.Kind.HOLD: (entry.held_delta, "held"),
        Entry.Kind.CAPTURE: (entry.captured_delta, "captured"),
        Entry.Kind.RELEASE: (entry.available_delta, "returned"),
        Entry.Kind.REFUND: (entry.available_delta, "refunded"),
    }.get(Entry.Kind(entry.kind), (entry.available_delta, "moved"))
    return f"{grouped(amount)} {word}"


@register.filter
def input_label(generation: Generation, name: str) -> str:
    entry = generation.catalogue_entry
    field = entry.input(name) if entry else None
    return field.label if field else name


@register.filter
def engine_label(generation: Generation) -> str:
    """ "Hailuo 2.3 Pro": short enough for a card."""
    entry = generation.catalogue_entry
    return entry.label if entry else generation.engine
