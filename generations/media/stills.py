"""From the bytes somebody brought to a still of ours: decoded, upright, sRGB, without metadata. Pure: bytes to bytes.

What a file is, its content says; names and extensions are not looked at. Stored are JPEG and PNG, and WebP where a
picture with transparency would make too large a PNG: the three formats every engine of the catalogue takes.
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from generations.media.errors import PictureRefused

MAX_PIXELS = 80_000_000
LARGE_PIXELS = 20_000_000
MAX_SIDE_PX = 16_000  # WebP ends at 16,383
MAX_PNG_BYTES = 20_000_000
JPEG_QUALITY = 92
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF")
TAKEN = "JPEG, PNG, WebP, GIF or AVIF"
CONTENT_TYPES = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
SUFFIXES = {"jpeg": "jpg", "png": "png", "webp": "webp"}

# Everything that decoders raise on bytes made to hurt them.
BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    OverflowError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)
_LARGE_ONE_BY_ONE = threading.Lock()
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
# Pillow only warns between one and two times its limit. Ours, checked below, is lower; this is the second lock.
warnings.simplefilter("error", Image.DecompressionBombWarning)

# (offset, bytes, what it is): the files people mistake for pictures we take.
KNOWN_OTHERS = (
    (4, b"ftyphei", "a HEIC picture"),
    (4, b"ftyphev", "a HEIC picture"),
    (4, b"ftypmif1", "a HEIF picture"),
    (4, b"ftypavi", "a damaged AVIF picture"),
    (4, b"ftyp", "a video"),
    (0, b"\x1aE\xdf\xa3", "a video"),
    (0, b"%PDF", "a PDF document"),
    (0, b"II*\x00", "a TIFF picture"),
    (0, b"MM\x00*", "a TIFF picture"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"PK\x03\x04", "an archive or office document"),
    (0, b"BM", "a BMP picture"),
)


@dataclass(frozen=True, slots=True)
class Still:
    """A picture as we keep it. `format` is jpeg, png or webp; the sides are pixels, upright."""

    content: bytes
    format: str
    width: int
    height: int


def normalise(content: bytes) -> Still:
    """The still in these bytes; of an animation the first frame. Raises `PictureRefused`."""
    with _decoding(content):
        opened = Image.open(io.BytesIO(content), formats=FORMATS)
        _check_sides(*opened.size)
    with _in_turn(opened.width * opened.height):
        return _normalised(opened, content)


def _normalised(opened: ImageFile, content: bytes) -> Still:
    with _decoding(content):
        is_lossy = opened.format in {"JPEG", "MPO", "WEBP", "AVIF"}
        # In place, here and below: at 80 megapixels every copy is 320 MB.
        ImageOps.exif_transpose(opened, in_place=True)
        image = _to_srgb(opened)
    return keep(image, is_lossy=is_lossy)


def _in_turn(pixels: int) -> AbstractContextManager[object]:
    """Large pictures are opened one after the other: a quarter of a megabyte can unfold to 320 MB, on every thread."""
    return _LARGE_ONE_BY_ONE if pixels > LARGE_PIXELS else nullcontext()


def keep(image: Image.Image, *, is_lossy: bool) -> Still:
    """Encode an RGB or RGBA image the way stills are stored."""
    if image.mode == "RGBA":
        content, form = encode(image, "png"), "png"
        if len(content) > MAX_PNG_BYTES:
            content, form = encode(image, "webp"), "webp"
    elif is_lossy:
        content, form = encode(image, "jpeg"), "jpeg"
    else:
        content, form = encode(image, "png"), "png"
        if len(content) > MAX_PNG_BYTES:
            content, form = encode(image, "jpeg"), "jpeg"
    return Still(content, form, image.width, image.height)


def encode(image: Image.Image, form: str, *, quality: int = JPEG_QUALITY) -> bytes:
    """The image as jpeg (transparent parts on white), png or webp; without any metadata."""
    out = io.BytesIO()
    if form == "jpeg":
        _on_white(image).save(out, "JPEG", quality=quality, optimize=True)
    elif form == "webp":
        image.save(out, "WEBP", quality=quality, method=4)
    else:
        image.save(out, "PNG", compress_level=6)
    return out.getvalue()


def decode(content: bytes) -> Image.Image:
    """The image in a still of ours."""
    with _decoding(content):
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        image.load()
        return image


def scaled(image: Image.Image, sides: tuple[int, int]) -> Image.Image:
    """The image with these sides (px); itself where it has them already."""
    if image.size == sides:
        return image
    return image.resize(sides, Image.Resampling.LANCZOS, reducing_gap=3.0)


@contextmanager
def _decoding(content: bytes) -> Iterator[None]:
    try:
        yield
    except BOMBS as error:
        raise _too_many_pixels() from error
    except UnidentifiedImageError as error:
        raise PictureRefused(_not_a_picture(content)) from error
    except BROKEN as error:
        raise PictureRefused(
            "This picture is damaged or incomplete and cannot be opened. "
            "Open it in a picture program, save it again and bring that file."
        ) from error


def _check_sides(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise _too_many_pixels(f"is {width} x {height} px ({width * height / 1e6:.0f} megapixels)")
    if max(width, height) > MAX_SIDE_PX:
        raise PictureRefused(
            f"This picture is {width} x {height} px; no side may be longer than {MAX_SIDE_PX:,} px."
        )


def _too_many_pixels(what: str = "has too many pixels") -> PictureRefused:
    return PictureRefused(
        f"This picture {what}; at most {MAX_PIXELS // 1_000_000} megapixels are taken. Make it smaller first."
    )


def _not_a_picture(content: bytes) -> str:
    for offset, magic, what in KNOWN_OTHERS:
        if content[offset : offset + len(magic)] == magic:
            return f"This file is {what}, whatever its name says; bring a {TAKEN} picture."
    if content.lstrip()[:1] == b"<":
        return f"This file is a web page or an SVG drawing; bring a {TAKEN} picture."
    return f"This file is not a picture we can open; bring a {TAKEN} picture."


def _to_srgb(image: Image.Image) -> Image.Image:
    """RGB, or RGBA where something really is transparent, with the colours the picture's profile meant."""
    profile = image.info.get("icc_profile")
    image = _plain_mode(image)
    if profile:
        image = _through_profile(image, profile)
    if image.mode not in {"RGB", "RGBA"}:
        image = image.convert("RGB")
    if image.mode == "RGBA" and image.getchannel("A").getextrema()[0] == 255:
        image = image.convert("RGB")
    # Without this, encoders would save the comment or the profile again.
    image.info = {}
    return image


def _plain_mode(image: Image.Image) -> Image.Image:
    """One of L, RGB, RGBA or CMYK."""
    if image.mode in {"I;16", "I;16B", "I;16L", "I;16N", "I"}:
        # 16-bit grey: convert() alone would clip everything above 255 to white.
        return image.convert("I").point(lambda value: value / 256).convert("L")
    image.load()
    if image.has_transparency_data and image.mode != "RGBA":
        return image.convert("RGBA")
    return image if image.mode in {"L", "RGB", "RGBA", "CMYK"} else image.convert("RGB")


def _through_profile(image: Image.Image, profile: bytes) -> Image.Image:
    target = "RGBA" if image.mode == "RGBA" else "RGB"
    try:
        source, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        if image.mode == target:
            ImageCms.profileToProfile(image, source, srgb, inPlace=True)
            return image
        converted = ImageCms.profileToProfile(image, source, srgb, outputMode=target)
    except (ImageCms.PyCMSError, OSError):
        return image  # a profile that cannot be read, or is for another kind of picture, says nothing
    return converted if converted is not None else image


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white
