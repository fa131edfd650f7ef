"""Addresses of people and money, and those of signing in."""

from allauth.account import views as allauth
from django.urls import path, re_path

from accounts import views

app_name = "accounts"
urlpatterns = [
    path("wallet/", views.wallet, name="wallet"),
    path("wallet/grants/add/", views.grant_add, name="grant_add"),
    path("wallet/grants/<int:pk>/", views.grant, name="grant"),
    path("wallet/grants/<int:pk>/extend/", views.grant_extend, name="grant_extend"),
    path("wallet/grants/<int:pk>/void/", views.grant_void, name="grant_void"),
    path("alerts/", views.alerts, name="alerts"),
    path("alerts/dismiss/", views.alerts_dismiss, name="alerts_dismiss"),
    path("alerts/<int:pk>/dismiss/", views.alert_dismiss, name="alert_dismiss"),
    path("alerts/settings/", views.alert_settings, name="alert_settings"),
    path("alerts/settings/webhook/", views.alert_hook, name="alert_hook"),
    path("alerts/settings/webhook/remove/", views.alert_hook_remove, name="alert_hook_remove"),
    path("alerts/settings/test/", views.alert_test, name="alert_test"),
    path("team/", views.team, name="team"),
    path("team/default-budget/", views.default_budget, name="default_budget"),
    path("team/invite/", views.invite, name="invite"),
    path("team/invitations/<int:pk>/revoke/", views.revoke_invitation, name="revoke_invitation"),
    path("team/members/<int:pk>/role/", views.member_role, name="member_role"),
    path("team/members/<int:pk>/remove/", views.member_remove, name="member_remove"),
    path("team/members/<int:pk>/budget/", views.budget, name="budget"),
    path("team/members/<int:pk>/budget/remove/", views.budget_remove, name="budget_remove"),
    path("team/audit/", views.audit_log, name="audit_log"),
    path("team/audit.csv", views.audit_file, name="audit_file"),
    path("team/switch/", views.switch_team, name="switch_team"),
    path("invitation/<str:token>/", views.invitation, name="invitation"),
]

# The pages of allauth that have a template here, under the names allauth asks for. Its own list is not included, so
# that sign-up, e-mail management and re-authentication stay closed.
entrance = [
    path("login/", views.sign_in, name="account_login"),
    path("logout/", allauth.logout, name="account_logout"),
    path("signup/", views.signup_closed, name="account_signup"),
    path("inactive/", allauth.account_inactive, name="account_inactive"),
    path("password/change/", allauth.password_change, name="account_change_password"),
    path("password/set/", allauth.password_set, name="account_set_password"),
    path("password/reset/", allauth.password_reset, name="account_reset_password"),
    path("password/reset/done/", allauth.password_reset_done, name="account_reset_password_done"),
    re_path(
        r"^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        allauth.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path(
        "password/reset/key/done/",
        allauth.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
]
