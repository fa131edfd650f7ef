"""What can be wrong with a picture, a clip or the place they are kept. `str()` is for the log.

`member_message` is for the person who asked; it says what happened and never "charged" or "refunded", because only the
ledger knows.
"""

from __future__ import annotations

from typing import ClassVar


class MediaError(Exception):
    """Base of everything this room raises on purpose."""

    member_message: str = "This file could not be handled."


class PictureRefused(MediaError):
    """The picture cannot be used; the message names what is wrong and what would be right."""

    def __init__(self, message: str) -> None:
        self.member_message = message
        super().__init__(message)


class ClipError(MediaError):
    """A finished clip could not be brought home.

    `max_tries` is how many times in all fetching is worth it, asking fal for its result again before each; None means
    until fal no longer keeps the file, because the fault is on the way and not in the clip.
    """

    max_tries: ClassVar[int | None] = 1

    @property
    def is_retryable(self) -> bool:
        return self.max_tries != 1


class ClipGone(ClipError):
    """The link answers 403, 404, 410 or the like. Links can appear a moment after the result does."""

    max_tries = 3
    member_message = "The clip was made, but its link at fal no longer opens."


class ClipBroken(ClipError):
    """Truncated, empty, a web page, not a video, or not playable."""

    max_tries = 3
    member_message = "What came back from fal is not a playable video."


class ClipNotAllowed(ClipError):
    """The link points to a host that clips are not fetched from."""

    member_message = "The answer pointed to a place that clips are not fetched from."


class ClipTooLarge(ClipError):
    """More bytes than we take."""

    member_message = "The clip is larger than this server accepts."


class ClipUnreachable(ClipError):
    """The network, a 5xx, or a transfer that is too slow."""

    max_tries = None
    member_message = "The clip is ready at fal but cannot be fetched at the moment; we keep trying."


class StorageUnavailable(ClipError):
    """Our own storage is full, refuses, or cannot be reached."""

    max_tries = None
    member_message = "Our storage cannot take files at the moment; an administrator has to look at it."
