"""Server-sent events, the part fal uses: `data:` lines, comments, a blank line between events (HTML standard, 9.2)."""

from __future__ import annotations

from generations.fal.errors import ProtocolError


class EventReader:
    """Give it bytes as they come; it gives back the data of each event that is complete."""

    def __init__(self, *, max_event_bytes: int) -> None:
        self._max_event_bytes = max_event_bytes
        self._rest = b""
        self._data: list[str] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[str]:
        """Raises ProtocolError for an event longer than the limit, or one that is not UTF-8."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        events = [event for line in lines if (event := self._take(line.removesuffix(b"\r"))) is not None]
        if len(self._rest) + self._size > self._max_event_bytes:
            raise ProtocolError("an event of fal's status stream is longer than we read")
        return events

    def _take(self, line: bytes) -> str | None:
        if not line:
            return self._flush()
        name, _, value = line.partition(b":")
        if name == b"data":
            self._size += len(value)
            if self._size > self._max_event_bytes:
                raise ProtocolError("an event of fal's status stream is longer than we read")
            self._data.append(_text(value.removeprefix(b" ")))
        return None

    def _flush(self) -> str | None:
        data, self._data, self._size = self._data, [], 0
        return "\n".join(data) if data else None


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError("fal's status stream is not UTF-8") from error
