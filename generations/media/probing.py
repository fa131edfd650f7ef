"""Is this file a video that plays, what is in it, and what does it look like? Asked by opening and decoding it.

Only the MP4/MOV and Matroska/WebM readers are ever started, chosen by us from the first bytes: FFmpeg's own guessing
would also open playlists, which can name other files and addresses.
"""

from __future__ import annotations

import errno
import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image, ImageStat

from generations.media.errors import ClipBroken, StorageUnavailable

MAX_PIXELS = 8192 * 4320
# Of larger pictures only whole frames (keyframes) are decoded: the others need up to sixteen before them in memory.
FULL_HD_PIXELS = 1920 * 1088
LATE = 0.9
POSTER_AT = (0.2, 0.3, 0.1, 0.5)
POSTER_MAX_SIDE_PX = 1280
DARK = 24  # mean brightness of 255 below which a frame shows nothing
ISO_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"})
EBML = b"\x1a\x45\xdf\xa3"


@dataclass(frozen=True, slots=True)
class ClipFacts:
    """What was found by opening the clip. `codec` is FFmpeg's name ("h264"); `fps` may be unknown."""

    width: int
    height: int
    duration_seconds: float
    fps: float | None
    codec: str
    has_audio: bool
    content_type: str


def probe(path: Path) -> ClipFacts:
    """The facts of a clip that plays from its first frame to its end. Raises `ClipBroken` with what is wrong."""
    with _opened(path) as (container, video):
        duration = _duration(container, video)
        _frame_at(container, video, 0)
        _check_reaches_end(container, video, duration)
        _frame_at(container, video, _late(video, duration))
        return ClipFacts(
            width=video.codec_context.width,
            height=video.codec_context.height,
            duration_seconds=round(duration, 3),
            fps=round(float(video.average_rate), 3) if video.average_rate else None,
            codec=video.codec_context.codec.canonical_name,
            has_audio=bool(container.streams.audio),
            content_type="video/webm" if _reader_for(path) == "matroska" else "video/mp4",
        )


def poster(path: Path) -> bytes:
    """A WebP of a frame near the beginning that shows something, at most 1280 px wide. Raises `ClipBroken`."""
    out = io.BytesIO()
    # Encoded when the decoder is gone: each wants a dozen megabytes.
    _telling_frame(path).save(out, "WEBP", quality=80)
    return out.getvalue()


def _telling_frame(path: Path) -> Image.Image:
    with _opened(path) as (container, video):
        duration = _duration(container, video)
        best, best_light = None, -1.0
        for part in POSTER_AT:
            image = _small(_frame_at(container, video, min(duration * part, _late(video, duration))))
            light = ImageStat.Stat(image.convert("L")).mean[0]
            if light > best_light:
                best, best_light = image, light
            if light > DARK:
                break
        assert best is not None
        return best


def _small(frame: VideoFrame) -> Image.Image:
    """The frame at most POSTER_MAX_SIDE_PX wide and high, made small before it becomes RGB."""
    scale = min(POSTER_MAX_SIDE_PX / max(frame.width, frame.height), 1)
    width, height = (max(round(side * scale), 1) for side in (frame.width, frame.height))
    return frame.to_image(width=width, height=height, interpolation="LANCZOS")


def starts_at_once(path: Path) -> bool:
    """Can a browser begin before it has all of the file? In an MP4 the index (moov) has to come before the media."""
    if _reader_for(path) == "matroska":
        return True
    with path.open("rb") as file:
        for kind in _boxes(file):
            if kind in {b"moov", b"mdat"}:
                return kind == b"moov"
    return False


def rewrap(source: Path, target: Path) -> None:
    """The same pictures and sound in an MP4 with its index first; nothing is encoded anew.

    Raises `ClipBroken`, `StorageUnavailable`.
    """
    options = {"movflags": "+faststart"}
    with (
        _opened(source) as (container, video),
        av.open(str(target), "w", format="mp4", options=options) as out,
    ):
        streams = [video, *container.streams.audio[:1]]
        copies = {stream.index: out.add_stream_from_template(stream) for stream in streams}
        for packet in container.demux(streams):
            if packet.dts is not None:  # the empty packet that marks the end
                packet.stream = copies[packet.stream.index]
                out.mux(packet)


@contextmanager
def _broken_is_said() -> Iterator[None]:
    """Broken files raise FFmpeg's errors, truncated ones StopIteration or EOFError, wild ones ValueError."""
    try:
        yield
    except (FFmpegError, StopIteration, EOFError, ValueError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EIO}:
            raise StorageUnavailable(f"no room to open the clip: {error}") from error
        raise ClipBroken(f"does not play: {type(error).__name__}: {error}") from error


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    with _broken_is_said(), av.open(str(path), format=_reader_for(path)) as container:
        if not container.streams.video:
            raise ClipBroken("there is no picture in it")
        video = container.streams.video[0]
        context = video.codec_context
        if not 0 < context.width * context.height <= MAX_PIXELS:
            raise ClipBroken(f"{context.width} x {context.height} px is not a size we open")
        # One thread: each more keeps whole frames of its own in memory, and only a few frames are ever decoded.
        video.thread_type, context.thread_count = "NONE", 1
        if context.width * context.height > FULL_HD_PIXELS:
            context.skip_frame = "NONKEY"
        yield container, video


def _reader_for(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(12)
    if head[:4] == EBML:
        return "matroska"
    if head[4:8] in ISO_BOXES:
        return "mp4"
    raise ClipBroken(f"neither MP4 nor WebM: it begins with {head!r}")


def _duration(container: InputContainer, video: VideoStream) -> float:
    """Seconds. Raises `ClipBroken` where the file does not say: then nobody can tell whether it is whole."""
    seconds = 0.0
    if video.duration is not None and video.time_base is not None:
        seconds = float(video.duration * video.time_base)
    elif container.duration is not None:
        seconds = container.duration / av.time_base
    if seconds <= 0:
        raise ClipBroken("it has no length")
    return seconds


def _late(video: VideoStream, duration: float) -> float:
    """A time near the end at which even a clip of one or two frames has one."""
    step = 1 / float(video.average_rate) if video.average_rate else 0.0
    return max(0.0, min(duration * LATE, duration - 2 * step))


def _frame_at(container: InputContainer, video: VideoStream, seconds: float) -> VideoFrame:
    """The first frame at or after this time; of large pictures the keyframe before it.

    Raises StopIteration or FFmpeg's errors where there is none.
    """
    container.seek(round(_start(video) * av.time_base + seconds * av.time_base))
    frames = container.decode(video)
    frame = next(frames)
    if video.codec_context.skip_frame == "NONKEY":
        return frame
    while frame.time is not None and frame.time - _start(video) < seconds:
        frame = next(frames)
    return frame


def _check_reaches_end(container: InputContainer, video: VideoStream, duration: float) -> None:
    """Read every packet without decoding: of a file that was cut off, the index promises more than there is."""
    last = 0.0
    container.seek(0)
    for packet in container.demux(video):
        if packet.is_corrupt:
            raise ClipBroken("a part of it is damaged or cut off")
        if packet.pts is not None and packet.time_base is not None:
            last = max(last, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    if last - _start(video) < duration * 0.95 - 0.1:
        raise ClipBroken(f"it ends after {last:.1f} of {duration:.1f} seconds")


def _start(video: VideoStream) -> float:
    if video.start_time is None or video.time_base is None:
        return 0.0
    return float(video.start_time * video.time_base)


def _boxes(file: BinaryIO) -> Iterator[bytes]:
    """The kinds of the outermost boxes of an MP4 (ISO 14496-12: 32-bit size, kind, perhaps a 64-bit size)."""
    at = 0
    while len(head := file.read(16)) >= 8:
        size, kind = struct.unpack(">I4s", head[:8])
        if size == 1 and len(head) == 16:
            size = struct.unpack(">Q", head[8:])[0]
        yield kind
        if size < 8:
            return
        at += size
        file.seek(at)
