"""Why a request cannot be made or decided, in sentences a person can act on."""

from __future__ import annotations


class AskingError(Exception):
    """Base of every refusal of this room. `str()` of it may be shown to the person who asked."""


class NothingRefused(AskingError):
    """Nothing stands in the way, so there is nothing to ask for; or what does is no matter of credits."""

    def __init__(self, text: str = "Nothing stands in the way any more: press Generate.") -> None:
        super().__init__(text)


class AskedBefore(AskingError):
    """The same form came again with other wishes: the request it made first stands."""

    def __init__(self) -> None:
        super().__init__(
            "You asked with this form before, for something else, and that request stands. "
            "Ask again to ask for this as well."
        )


class AlreadyDecided(AskingError):
    """Somebody was quicker, or its time is over."""

    def __init__(self, *, state: str) -> None:
        self.state = state
        super().__init__(f"This request is {state} already; nothing was changed.")


class OrderedMeanwhile(AskingError):
    """The same form was sent again and went through: there is nothing left to approve."""

    def __init__(self, *, member: str) -> None:
        super().__init__(
            f"{member} has ordered this clip meanwhile, so it needs no approval. Nothing was held."
        )


class NotAnAdmin(AskingError):
    """Only active admins of the request's team decide."""

    def __init__(self) -> None:
        super().__init__("Only an admin of this team can decide it.")


class StaysOpen(AskingError):
    """It cannot run just now: nothing was held or changed, and it can be approved later."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text} Nothing was held; the request stays open.")


class NotRaised(AskingError):
    """The new limit is none that would have let this through."""


class NoteRequired(AskingError):
    """Whoever declines says why."""

    def __init__(self) -> None:
        super().__init__("Say why: the member reads it.")


class LinkNotGood(AskingError):
    """The link of a mail is not whole, too old, or meant for another person."""

    def __init__(self) -> None:
        super().__init__(
            "This link has expired, is not whole, or was mailed to somebody else. Open requests are listed here."
        )
