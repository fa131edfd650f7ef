"""The fault matrix against real processes."""
