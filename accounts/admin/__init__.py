"""The Django admin for people and money. Money is for reading: the ledger changes it, and writes a new row."""

from accounts.admin import alerts, money, people

__all__ = ["alerts", "money", "people"]
