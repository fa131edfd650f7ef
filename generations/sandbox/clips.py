"""Draws a real clip: H.264 in MP4, a slow push-in over the picture, the prompt burnt in small, marked SIMULATED."""

from __future__ import annotations

import array
import math
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image, ImageDraw, ImageFont, ImageOps

LONG_SIDE_PX, FRAMES_PER_SECOND = 960, 24
FAST_LONG_SIDE_PX, FAST_FRAMES_PER_SECOND = 320, 8
PUSH_IN = 0.12
SAMPLE_RATE, TONE_HZ, TONE_LEVEL, AUDIO_CHUNK = 44_100, 220, 400, 1024
LINES, MARK = 2, "SIMULATED"


class StoppedError(Exception):
    """The sandbox is ending; the half-made clip was thrown away."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a clip should be like. `ratio` is width / height; `None` follows the picture."""

    seconds: float
    ratio: float | None
    has_audio: bool
    prompt: str


def render(
    plan: Plan,
    out: Path,
    *,
    picture: Path | None,
    is_fast: bool = False,
    should_stop: Callable[[], bool] = bool,
) -> None:
    """Write the clip to `out`, whole or not at all. Raises `StoppedError` when told to stop half-way."""
    part = out.with_suffix(f".{uuid.uuid4().hex}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        with av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            _write(container, plan, picture=picture, is_fast=is_fast, should_stop=should_stop)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)


def _write(
    container: OutputContainer,
    plan: Plan,
    *,
    picture: Path | None,
    is_fast: bool,
    should_stop: Callable[[], bool],
) -> None:
    rate = FAST_FRAMES_PER_SECOND if is_fast else FRAMES_PER_SECOND
    source = _source(plan, picture)
    size = _size(plan.ratio or source.width / source.height, FAST_LONG_SIDE_PX if is_fast else LONG_SIDE_PX)
    stream = _video_stream(container, size, rate)
    sound = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono") if plan.has_audio else None
    for number, frame in enumerate(
        _frames(source, size, count=max(round(plan.seconds * rate), 1), plan=plan)
    ):
        if should_stop():
            raise StoppedError
        frame.pts = number
        frame.time_base = Fraction(1, rate)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())
    if sound is not None:
        _write_tone(container, sound, plan.seconds)


def _video_stream(container: OutputContainer, size: tuple[int, int], rate: int) -> VideoStream:
    options = {"preset": "ultrafast", "crf": "26", "threads": "1", "profile": "baseline"}
    stream = container.add_stream("libx264", rate=rate, options=options)
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    stream.gop_size = rate * 2
    return stream


def _source(plan: Plan, picture: Path | None) -> Image.Image:
    if picture is None:
        return _backdrop(plan.ratio or 16 / 9)
    with Image.open(picture) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def _backdrop(ratio: float) -> Image.Image:
    """A dusk gradient with a low sun, for clips made from words alone."""
    width, height = _size(ratio, LONG_SIDE_PX)
    ramp = Image.linear_gradient("L").resize((width, height))
    image = ImageOps.colorize(ramp, black="#1b2340", mid="#7a4a7d", white="#f2a65a")
    radius = min(width, height) // 7
    x, y = width // 2, int(height * 0.66)
    ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), fill="#ffd9a0")
    return image


def _size(ratio: float, long_side: int) -> tuple[int, int]:
    width, height = (long_side, long_side / ratio) if ratio >= 1 else (long_side * ratio, long_side)
    return max(round(width / 2) * 2, 16), max(round(height / 2) * 2, 16)


def _frames(source: Image.Image, size: tuple[int, int], *, count: int, plan: Plan) -> Iterator[VideoFrame]:
    """Push slowly into the picture and lay the caption over it; the filters do the work, outside the interpreter."""
    graph, sink = _push_in(source, size, count=count, prompt=plan.prompt)
    for _ in range(count):
        frame = sink.pull()
        if not isinstance(frame, VideoFrame):
            raise TypeError(f"the filters gave a {type(frame).__name__}")
        yield frame
    del graph


def _push_in(
    source: Image.Image, size: tuple[int, int], *, count: int, prompt: str
) -> tuple[Graph, FilterContext]:
    """Build and feed the filters: zoompan over a canvas of twice the size (its steps are whole pixels), overlay."""
    width, height = size
    graph = Graph()
    canvas = _fed(graph, _rgba(ImageOps.fit(source, (width * 2, height * 2))).reformat(format="yuv420p"))
    caption = _fed(graph, _rgba(_caption(size, prompt)))
    zoom = graph.add(
        "zoompan",
        f"z='1+{PUSH_IN}*on/{max(count - 1, 1)}':x='(iw-iw/zoom)/2':y='(ih-ih/zoom)/2'"
        f":d={count}:s={width}x{height}:fps=25",
    )
    overlay, sink = graph.add("overlay", "eof_action=repeat:format=yuv420"), graph.add("buffersink")
    canvas[0].link_to(zoom)
    zoom.link_to(overlay, 0, 0)
    caption[0].link_to(overlay, 0, 1)
    overlay.link_to(sink)
    graph.configure()
    for entry, frame in (canvas, caption):
        entry.push(frame)
        entry.push(None)
    return graph, sink


def _fed(graph: Graph, frame: VideoFrame) -> tuple[FilterContext, VideoFrame]:
    frame.pts, frame.time_base = 0, Fraction(1, 25)
    entry = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    return entry, frame


def _rgba(image: Image.Image) -> VideoFrame:
    return VideoFrame.from_bytes(image.convert("RGBA").tobytes(), image.width, image.height, format="rgba")


def _caption(size: tuple[int, int], prompt: str) -> Image.Image:
    """The prompt along the bottom and the mark in the upper right corner, on a clear sheet."""
    width, height = size
    sheet = Image.new("RGBA", size)
    font = ImageFont.load_default(max(width, height) // 48)
    mark = _label([MARK], font, None)
    sheet.paste(mark, (width - mark.width, 0))
    lines = _wrap(prompt, font, width - 16)
    if lines:
        strip = _label(lines, font, width)
        sheet.paste(strip, (0, height - strip.height))
    return sheet


def _label(
    lines: list[str], font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int | None
) -> Image.Image:
    line_px = int(font.size * 1.4) if isinstance(font, ImageFont.FreeTypeFont) else 14
    text_px = max(int(font.getlength(line)) for line in lines) + 16
    layer = Image.new("RGBA", (width or text_px, line_px * len(lines) + 8), (0, 0, 0, 140))
    pen = ImageDraw.Draw(layer)
    for number, line in enumerate(lines):
        pen.text((8, 4 + number * line_px), line, font=font, fill=(255, 255, 255, 235))
    return layer


def _wrap(prompt: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    lines: list[str] = []
    for word in prompt[:400].split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        elif len(lines) < LINES:
            lines.append(word[:80])
        else:
            lines[-1] += "…"
            break
    return lines


def _write_tone(container: OutputContainer, sound: AudioStream, seconds: float) -> None:
    """A quiet hum, so that a clip with sound has a sound track that can be heard and seen."""
    period = SAMPLE_RATE // TONE_HZ
    one = (int(TONE_LEVEL * math.sin(2 * math.pi * n / period)) for n in range(period))
    wave = array.array("h", one).tobytes() * (AUDIO_CHUNK // period + 2)
    total = int(seconds * SAMPLE_RATE)
    for start in range(0, total, AUDIO_CHUNK):
        samples, skip = min(AUDIO_CHUNK, total - start), start % period * 2
        frame = AudioFrame(format="s16", layout="mono", samples=samples)
        chunk = wave[skip : skip + samples * 2]
        frame.planes[0].update(chunk.ljust(frame.planes[0].buffer_size, b"\0"))
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
        container.mux(sound.encode(frame))
    container.mux(sound.encode(None))
