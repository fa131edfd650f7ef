"""Addresses of generations, their files and their webhooks."""

from django.urls import URLPattern, URLResolver

app_name = "generations"
urlpatterns: list[URLPattern | URLResolver] = []
