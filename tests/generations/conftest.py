"""The rooms of generations that need a fal to talk to share the sandbox of the bad days."""

from tests.bad_days.conftest import fal_settings, member, picture, sandbox, sandbox_process, story

__all__ = ["fal_settings", "member", "picture", "sandbox", "sandbox_process", "story"]
