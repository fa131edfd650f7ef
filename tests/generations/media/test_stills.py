"""What comes in is decoded, turned, stripped and coloured right, or refused in words."""

from __future__ import annotations

import io
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image, ImageCms

from generations.media import PictureRefused, stills
from tests.generations.media.makers import encoded, picture


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


@pytest.mark.parametrize(
    ("kind", "stored"),
    [("JPEG", "jpeg"), ("PNG", "png"), ("WEBP", "jpeg"), ("GIF", "png"), ("AVIF", "jpeg")],
)
def test_every_format_we_promise_is_taken(kind: str, stored: str) -> None:
    still = stills.normalise(encoded(picture(), kind))
    assert (still.format, still.width, still.height) == (stored, 400, 320)
    assert opened(still.content).format == stored.upper()


def test_a_picture_lying_on_its_side_is_turned_upright_and_loses_its_place_of_birth() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to the right
    exif[0x010F] = "SecretCameraMaker"
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    raw = encoded(picture(400, 300), "JPEG", exif=exif, comment=b"hidden words")
    assert b"SecretCameraMaker" in raw
    assert b"hidden words" in raw
    still = stills.normalise(raw)
    image = opened(still.content)
    assert (still.width, still.height) == image.size == (300, 400)
    red, green, blue = image.getpixel((290, 5))
    assert green > 150 > max(red, blue), "the green corner belongs at the top right after turning"
    assert not image.getexif()
    for secret in (b"SecretCameraMaker", b"hidden words", b"Exif"):
        assert secret not in still.content


def test_png_text_is_stripped() -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Author", "Somebody Private")
    info.add_itxt("XML:com.adobe.xmp", "<x>Somebody Private</x>")
    raw = encoded(picture(), "PNG", pnginfo=info)
    assert b"Somebody Private" in raw
    assert b"Somebody Private" not in stills.normalise(raw).content


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_every_format_is_stripped_and_turned(kind: str, mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "SecretCameraMaker"
    image = picture(400, 300, mode)
    if mode == "RGBA":
        image.putalpha(128)
    more = {} if kind == "PNG" else {"xmp": b"<x>Somebody Private</x>"}
    raw = encoded(image, kind, exif=exif, **more)
    assert b"SecretCameraMaker" in raw
    still = stills.normalise(raw)
    assert (still.width, still.height) == (300, 400)
    for secret in (b"SecretCameraMaker", b"Somebody Private", b"Exif", b"eXIf"):
        assert secret not in still.content


def test_colours_of_another_profile_become_srgb_and_the_profile_goes() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # A profile in which red light is called blue: whoever ignores it shows the wrong colour.
    swapped = srgb.replace(b"rXYZ", b"?XYZ").replace(b"bXYZ", b"rXYZ").replace(b"?XYZ", b"bXYZ")
    for image in (Image.new("RGB", (50, 50), (220, 20, 20)), Image.new("RGBA", (50, 50), (220, 20, 20, 128))):
        still = stills.normalise(encoded(image, "PNG", icc_profile=swapped))
        found = opened(still.content)
        assert "icc_profile" not in found.info
        red, _, blue, *alpha = found.getpixel((5, 5))
        assert blue > 180 > 80 > red
        assert alpha in ([], [128])


def test_a_profile_that_is_rubbish_changes_nothing() -> None:
    raw = encoded(Image.new("RGB", (50, 50), (12, 120, 200)), "PNG", icc_profile=b"rubbish" * 40)
    assert opened(stills.normalise(raw).content).getpixel((5, 5)) == (12, 120, 200)


def test_transparency_is_kept_where_there_is_any() -> None:
    image = picture().convert("RGBA")
    assert stills.normalise(encoded(image, "PNG")).format == "png"
    assert opened(stills.normalise(encoded(image, "PNG")).content).mode == "RGB"
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    for kind in ("PNG", "WEBP", "AVIF"):
        still = stills.normalise(encoded(image, kind))
        assert (still.format, opened(still.content).mode) == ("png", "RGBA")


def test_a_transparent_picture_too_large_as_png_becomes_webp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stills, "MAX_PNG_BYTES", 2_000)
    image = Image.effect_noise((300, 200), 80).convert("RGBA")
    image.putalpha(120)
    still = stills.normalise(encoded(image, "PNG"))
    assert still.format == "webp"
    assert opened(still.content).mode == "RGBA"
    assert stills.normalise(encoded(image.convert("RGB"), "PNG")).format == "jpeg"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "I;16"])
def test_rare_kinds_of_pixels_arrive_in_their_colours(mode: str) -> None:
    if mode == "I;16":
        image = Image.new("I;16", (40, 40), 40_000)
        expected = 156
    else:
        image = Image.new("RGB", (40, 40), (255, 255, 255)).convert(mode)
        expected = 255
    kind = "JPEG" if mode == "CMYK" else "PNG"
    red, green, blue = (
        opened(stills.normalise(encoded(image, kind)).content).convert("RGB").getpixel((20, 20))
    )
    assert abs(red - expected) <= 2
    assert red == green == blue


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (60, 40), colour) for colour in ("red", "lime", "blue")]
    for kind in ("GIF", "WEBP"):
        raw = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
        red, green, blue = opened(stills.normalise(raw).content).convert("RGB").getpixel((30, 20))
        assert red > 240 > 20 > max(green, blue)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims this many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(99)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("width", "height"), [(9_000, 9_000), (11_000, 11_000), (60_000, 60_000)])
def test_a_picture_bomb_is_refused_from_its_header(width: int, height: int) -> None:
    with pytest.raises(PictureRefused, match="at most 80 megapixels"):
        stills.normalise(bomb(width, height))


def test_a_very_long_strip_is_refused() -> None:
    with pytest.raises(PictureRefused, match="16,000 px"):
        stills.normalise(bomb(30_000, 10))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x00\x00\x00\x18ftypheic" + bytes(40), "HEIC"),
        (b"\x00\x00\x00\x18ftypisom" + bytes(40), "a video"),
        (b"%PDF-1.7 ...", "PDF"),
        (b"  <!doctype html><html>", "web page or an SVG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"PK\x03\x04" + bytes(30), "archive"),
        (b"just words", "not a picture"),
        (encoded(picture(), "BMP"), "BMP"),
        (encoded(picture(), "TIFF"), "TIFF"),
    ],
)
def test_what_is_no_picture_is_called_by_its_name(content: bytes, words: str) -> None:
    with pytest.raises(PictureRefused, match=words) as refused:
        stills.normalise(content)
    assert "JPEG, PNG, WebP, GIF or AVIF" in str(refused.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "GIF"])
def test_a_picture_cut_in_half_is_refused(kind: str) -> None:
    noisy = Image.effect_noise((200, 200), 90).convert("RGB")
    raw = encoded(noisy, kind)
    with pytest.raises(PictureRefused, match=r"damaged|not a picture"):
        stills.normalise(raw[: len(raw) // 2])


def test_bytes_flipped_anywhere_never_raise_anything_else() -> None:
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "AVIF"):
        raw = encoded(picture(64, 48), kind)
        for at in range(0, len(raw), max(len(raw) // 60, 1)):
            hurt = bytearray(raw)
            hurt[at] ^= 0xFF
            try:
                stills.normalise(bytes(hurt))
            except PictureRefused:
                continue


def test_large_pictures_are_opened_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of a megabyte may unfold to 320 MB: a dozen at once would be the end of the process."""
    monkeypatch.setattr(stills, "LARGE_PIXELS", 10)
    content, at_once, most = io.BytesIO(), 0, 0
    Image.new("RGB", (20, 20)).save(content, "PNG")
    real = stills.keep

    def counted(image: Image.Image, *, is_lossy: bool) -> stills.Still:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        time.sleep(0.02)
        at_once -= 1
        return real(image, is_lossy=is_lossy)

    monkeypatch.setattr(stills, "keep", counted)
    with ThreadPoolExecutor(6) as pool:
        kept = list(pool.map(stills.normalise, [content.getvalue()] * 6))
    assert (len(kept), most) == (6, 1)
