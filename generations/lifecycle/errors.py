"""Why a request is refused before any credit is held, in sentences a member can act on."""

from __future__ import annotations


class LifecycleError(Exception):
    """Base of every refusal of this room. `str()` of it may be shown to the person who asked."""


class NotAMember(LifecycleError):
    """The user has no active membership in the team whose wallet would pay."""

    def __init__(self) -> None:
        super().__init__("You are not a member of this team.")


class NotOrderable(LifecycleError):
    """The engine is known, and cannot be ordered (any more)."""

    def __init__(self, label: str, *, reason: str = "") -> None:
        super().__init__(f"{label} cannot be ordered just now{f': {reason}' if reason else '.'}")


class EngineHidden(LifecycleError):
    """The team's admins have hidden the engine from this member's role, or from everyone."""

    def __init__(self, label: str) -> None:
        super().__init__(
            f"Your team's admins have not opened {label} to you. Choose another engine, or ask them."
        )


class PriceChanged(LifecycleError):
    """The price went up since the form was shown; nothing was held. `now_credits` is the price to agree to."""

    def __init__(self, *, seen_credits: int, now_credits: int) -> None:
        self.seen_credits = seen_credits
        self.now_credits = now_credits
        super().__init__(
            f"The price is now {now_credits} credits, not {seen_credits}. Press Generate again to agree."
        )


class AlreadySent(LifecycleError):
    """The same form came again with other wishes: what it asked for first stands, and nothing more was held."""

    def __init__(self) -> None:
        super().__init__(
            "This form was sent before, with other wishes, and that clip is on its way. "
            "Press Generate again to order this one as well."
        )


class NotWaiting(LifecycleError):
    """Its place can no longer be changed: it is on its way to fal, or ended."""

    def __init__(self) -> None:
        super().__init__(
            "It has left the line: it is on its way to fal, or has ended. Its place stays as it was."
        )


class NotYours(LifecycleError):
    """Somebody else's place in their own line."""

    def __init__(self) -> None:
        super().__init__("Only the member who asked for it can change its place.")


class NotOffered(LifecycleError):
    """There is no late clip of this generation to be kept (any more)."""

    def __init__(self) -> None:
        super().__init__("This clip is not offered any more.")


class UnknownDelivery(LifecycleError):
    """A webhook whose token or request is not one of ours."""
