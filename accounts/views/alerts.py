"""Alerts in the app: what was told, what is read, and what a team wants to be told. Each verb has its own address."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import alerts as room
from accounts.alerts.hooks import HookRefused
from accounts.alerts.telling import is_mail_set_up
from accounts.forms import AlertSettingsForm, HookForm
from accounts.models import Alert, AlertHook, HookCall, Membership, Notice, Team
from accounts.permissions import member_required, team_admin_required

PAGE_SIZE = 50
CALLS_SHOWN = 20


@require_safe
@member_required
def alerts(request: HttpRequest, *, membership: Membership) -> HttpResponseBase:
    """The newest, those that are not dismissed first on the page."""
    unread = list(Alert.objects.unread_by(membership).order_by("-created_at", "-pk")[:PAGE_SIZE])
    seen = Alert.objects.visible_to(membership).exclude(pk__in=[alert.pk for alert in unread])
    context = {"unread": unread, "seen": list(seen.order_by("-created_at", "-pk")[:PAGE_SIZE])}
    return render(request, "accounts/alerts.html", context)


@require_POST
@member_required
def alert_dismiss(request: HttpRequest, pk: int, *, membership: Membership) -> HttpResponseBase:  # noqa: ARG001
    if not room.dismiss(membership, pk):
        raise Http404
    return redirect("accounts:alerts")


@require_POST
@member_required
def alerts_dismiss(request: HttpRequest, *, membership: Membership) -> HttpResponseBase:  # noqa: ARG001
    room.dismiss_all(membership)
    return redirect("accounts:alerts")


@require_http_methods(["GET", "HEAD", "POST"])
@team_admin_required
def alert_settings(request: HttpRequest, *, membership: Membership) -> HttpResponseBase:
    if request.method != "POST":
        return _page(request, membership.team)
    form = AlertSettingsForm(request.POST, team=membership.team)
    if not form.is_valid():
        return _page(request, membership.team, form=form, status=422)
    room.change_rules(membership.team, **form.cleaned_data)
    messages.success(request, "Saved.")
    return redirect("accounts:alert_settings")


@require_POST
@team_admin_required
def alert_hook(request: HttpRequest, *, membership: Membership) -> HttpResponseBase:
    """The secret is shown in the answer itself: kept for a redirect, it would lie in a session, readable."""
    form = HookForm(request.POST)
    if form.is_valid():
        try:
            _, secret = room.set_hook(membership.team, form.cleaned_data["url"])
        except HookRefused as refused:
            form.add_error("url", str(refused))
        else:
            return _page(request, membership.team, secret=secret)
    return _page(request, membership.team, hook_form=form, status=422)


@require_POST
@team_admin_required
def alert_hook_remove(request: HttpRequest, *, membership: Membership) -> HttpResponseBase:
    room.remove_hook(membership.team)
    messages.success(request, "Nothing is posted any more.")
    return redirect("accounts:alert_settings")


@require_POST
@team_admin_required
def alert_test(request: HttpRequest, *, membership: Membership) -> HttpResponseBase:
    room.send_test(membership)
    messages.success(
        request, "A test is on its way by every channel; what came of it is below within a minute."
    )
    return redirect("accounts:alert_settings")


def _page(
    request: HttpRequest,
    team: Team,
    *,
    form: AlertSettingsForm | None = None,
    hook_form: HookForm | None = None,
    secret: str = "",
    status: int = 200,
) -> HttpResponse:
    hook = AlertHook.objects.filter(team=team).first()
    calls = HookCall.objects.filter(notice__alert__team=team).select_related("notice__alert")
    waiting = Notice.objects.filter(alert__team=team, state=Notice.State.PENDING, tries__gt=0)
    context = {
        "form": form or AlertSettingsForm(initial=_initial(team), team=team),
        "hook_form": hook_form or HookForm(initial={"url": hook.url if hook else ""}),
        "hook": hook,
        "secret": secret,
        "calls": list(calls.order_by("-pk")[:CALLS_SHOWN]),
        "waiting": list(waiting.select_related("alert", "user").order_by("next_try_at")[:CALLS_SHOWN]),
        "is_mail_set_up": is_mail_set_up(),
    }
    return render(request, "accounts/alert_settings.html", context, status=status)


def _initial(team: Team) -> dict[str, Any]:
    rules = room.rules_of(team.pk)
    names = ("wallet_percents", "budget_percents", "is_burn_watched", "is_mailed", "is_member_mailed")
    chosen = [] if rules._state.adding else list(rules.mailed_users.values_list("pk", flat=True))
    return {name: getattr(rules, name) for name in names} | {"mailed_users": chosen}
