"""Real pictures and clips, made small, and a real HTTP server that misbehaves to order."""

from __future__ import annotations

import io
import shutil
import threading
from collections.abc import Callable
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
from PIL import Image, ImageDraw

Answer = Callable[["Handler"], None]


def picture(width: int = 400, height: int = 320, mode: str = "RGB") -> Image.Image:
    """Left half red, right half blue, a green corner at the top left: which way is up shows."""
    image = Image.new("RGB", (width, height), (200, 30, 30))
    draw = ImageDraw.Draw(image)
    draw.rectangle((width // 2, 0, width, height), fill=(30, 30, 200))
    draw.rectangle((0, 0, width // 8, height // 8), fill=(30, 200, 30))
    return image.convert(mode)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def clip(
    path: Path,
    *,
    seconds: float = 2,
    rate: int = 12,
    size: tuple[int, int] = (160, 90),
    has_audio: bool = False,
    is_faststart: bool = True,
    dark_until: float = 0,
    codec: str = "libx264",
) -> bytes:
    """Write a small real clip and give its bytes back."""
    options = {"movflags": "+faststart"} if is_faststart and path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=options) as out:
        video = out.add_stream(codec, rate=rate)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        sound = out.add_stream("aac", rate=44_100, layout="mono") if has_audio else None
        for number in range(max(round(seconds * rate), 1)):
            is_dark = number < dark_until * rate
            image = Image.new("RGB", size) if is_dark else _frame(number, size)
            out.mux(video.encode(av.VideoFrame.from_image(image)))
        out.mux(video.encode())
        if sound is not None:
            silence(out, sound, seconds)
    return path.read_bytes()


def heavy_clip(path: Path, *, size_bytes: int, is_faststart: bool = False) -> None:
    """A clip of about so many bytes, in no time: one frame of noise, encoded once and put in again and again."""
    size = (1280, 720)
    with av.open(str(path), "w", options={"movflags": "+faststart"} if is_faststart else {}) as out:
        video = out.add_stream("mjpeg", rate=25)
        video.width, video.height, video.pix_fmt = *size, "yuvj420p"
        video.codec_context.qmin = video.codec_context.qmax = 2
        still = av.VideoFrame.from_image(Image.effect_noise(size, 120).convert("RGB"))
        (content,) = [bytes(packet) for packet in (*video.encode(still), *video.encode())]
        for number in range(max(size_bytes // len(content), 1)):
            packet = av.Packet(content)
            packet.stream, packet.time_base = video, Fraction(1, 25)
            packet.pts, packet.dts, packet.duration, packet.is_keyframe = number, number, 1, True
            out.mux(packet)


def _frame(number: int, size: tuple[int, int]) -> Image.Image:
    # Noise, so that the file has enough bytes to be cut in the middle.
    return Image.blend(
        picture(*size), Image.effect_noise(size, 90).convert("RGB"), 0.3 + 0.01 * (number % 10)
    )


def silence(out: Any, sound: Any, seconds: float) -> None:
    """Put this much of it on an audio stream, to its end."""
    for number in range(round(seconds * 44_100 / 1024)):
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate, frame.pts = 44_100, number * 1024
        out.mux(sound.encode(frame))
    out.mux(sound.encode())


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers)))
        self.close_connection = True
        answer = self.server.answers.get(self.path)
        try:
            if answer is None:
                self.reply(404, b"no")
            else:
                answer(self)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client has seen enough

    def reply(self, status: int, body: bytes, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Quiet."""


class Server(ThreadingHTTPServer):
    """`answers[path] = lambda handler: ...`; `seen` lists (path, headers) of what was asked."""

    daemon_threads = True

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__((host, 0), Handler)
        self.answers: dict[str, Answer] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]!s}:{self.port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up in the middle are the point of some tests."""

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


def body(content: bytes, content_type: str = "video/mp4", status: int = 200, **headers: str) -> Answer:
    return lambda handler: handler.reply(status, content, Content_Type=content_type, **headers)


def file(path: Path, content_type: str = "video/mp4") -> Answer:
    """A large file, sent from the disk."""

    def answer(handler: Handler) -> None:
        handler.reply(200, b"", length=path.stat().st_size, Content_Type=content_type)
        with path.open("rb") as content:
            shutil.copyfileobj(content, handler.wfile, 1_000_000)

    return answer


def redirect(to: str) -> Answer:
    return lambda handler: handler.reply(302, b"", Location=to)


def in_turn(*answers: Answer) -> Answer:
    """The first for the first request, the second for the second, ..."""
    left = iter(answers)

    def answer(handler: Handler) -> None:
        next(left)(handler)

    return answer
