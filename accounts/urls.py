"""Addresses of people and money."""

from django.urls import path

from accounts import views

app_name = "accounts"
urlpatterns = [
    path("wallet/", views.wallet, name="wallet"),
    path("team/", views.team, name="team"),
    path("team/invite/", views.invite, name="invite"),
    path("team/invitations/<int:pk>/revoke/", views.revoke_invitation, name="revoke_invitation"),
    path("team/members/<int:pk>/role/", views.member_role, name="member_role"),
    path("team/members/<int:pk>/remove/", views.member_remove, name="member_remove"),
    path("team/members/<int:pk>/budget/", views.budget, name="budget"),
    path("team/switch/", views.switch_team, name="switch_team"),
    path("invitation/<str:token>/", views.invitation, name="invitation"),
]
