"""Draws docs/studio.png, the README's picture, from the real thing: `python -m tests.browser.screenshot`.

Scenes are drawn here, ordered on the page, rendered by the sandbox; the older ones are then dated back, as a team's
library would be, and one more is caught while it runs.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image, ImageDraw, ImageFilter
from playwright.sync_api import Page, expect, sync_playwright

from config.stack import environment
from tests.browser.people import SLOW_MS, Person, Studio
from tests.browser.stack import Stack, running_stack
from tests.conftest import chromium

TARGET = environment.CHECKOUT / "docs" / "studio.png"
MOST_BYTES = 300_000
WIDTH, HEIGHT = 1280, 720
VIEWPORT = {"width": 1280, "height": 1060}
DATED_BACK = """
from datetime import timedelta
from generations.models import Generation
for hours, row in enumerate(Generation.objects.order_by("-created_at")[1:], start=1):
    shift = timedelta(hours=2 * hours)
    Generation.objects.filter(pk=row.pk).update(created_at=row.created_at - shift, settled_at=row.settled_at - shift)
"""

Draw = ImageDraw.ImageDraw


def sky(top: str, bottom: str) -> Image.Image:
    blend = Image.linear_gradient("L").resize((WIDTH, HEIGHT))
    return Image.composite(Image.new("RGB", blend.size, bottom), Image.new("RGB", blend.size, top), blend)


def ridges(image: Image.Image, colours: Sequence[str], *, first_y: int, rough: int, seed: int) -> None:
    """Hills behind hills, the nearest last."""
    dice, draw = random.Random(seed), ImageDraw.Draw(image)
    for number, colour in enumerate(colours):
        y = first_y + number * (HEIGHT - first_y) // len(colours)
        points = [(x, y + dice.randint(-rough, rough)) for x in range(-160, WIDTH + 320, 160)]
        smooth = [
            (a[0] + (b[0] - a[0]) * t / 16, a[1] + (b[1] - a[1]) * (3 * (t / 16) ** 2 - 2 * (t / 16) ** 3))
            for a, b in pairwise(points)
            for t in range(16)
        ]
        draw.polygon([(0, HEIGHT), *smooth, (WIDTH, HEIGHT)], fill=colour)


def glow(image: Image.Image, centre: tuple[int, int], radius: int, colour: str) -> None:
    x, y = centre
    halo = Image.new("L", image.size)
    ImageDraw.Draw(halo).ellipse((x - radius * 2, y - radius * 2, x + radius * 2, y + radius * 2), fill=90)
    ImageDraw.Draw(halo).ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    image.paste(Image.new("RGB", image.size, colour), mask=halo.filter(ImageFilter.GaussianBlur(radius / 5)))


def lighthouse() -> Image.Image:
    image = sky("#23395d", "#f0b48a")
    ridges(image, ["#31506b", "#22384d"], first_y=540, rough=14, seed=3)
    draw = ImageDraw.Draw(image)
    draw.polygon([(840, 600), (1280, 500), (1280, 720), (780, 720)], fill="#16222e")
    draw.polygon([(980, 240), (1040, 240), (1062, 570), (958, 570)], fill="#f2ece0")
    for y in (320, 440):
        draw.polygon([(973, y), (1047, y), (1054, y + 60), (966, y + 60)], fill="#b5473c")
    draw.rectangle((976, 190, 1044, 240), fill="#16222e")
    glow(image, (1010, 214), 26, "#ffe9a8")
    return image


def fog() -> Image.Image:
    image = sky("#dfe9e6", "#b7cdc6")
    ridges(image, ["#a3bdb5", "#7fa199", "#54796f", "#2f5148", "#173029"], first_y=230, rough=60, seed=9)
    glow(image, (300, 150), 60, "#fffaf0")
    return image


def city() -> Image.Image:
    image = sky("#0d1030", "#6a2f6d")
    dice, draw = random.Random(5), ImageDraw.Draw(image)
    for colour, least, most in (("#241a45", 220, 420), ("#120f2b", 380, 540)):
        for x in range(0, WIDTH, 110):
            top = dice.randint(least, most)
            draw.rectangle((x, top, x + 96, HEIGHT), fill=colour)
            for wx in range(x + 14, x + 84, 18):
                for wy in range(top + 18, HEIGHT, 26):
                    if dice.random() < 0.38:
                        draw.rectangle((wx, wy, wx + 8, wy + 12), fill="#ffcf6b")
    return image


def dunes() -> Image.Image:
    image = sky("#5fa8d3", "#fbe3b5")
    ridges(image, ["#f0bf74", "#dd9a4f", "#b9722f", "#8a4e1f"], first_y=380, rough=46, seed=21)
    glow(image, (930, 170), 54, "#fff7d6")
    return image


def balloon() -> Image.Image:
    image = sky("#7cc3ea", "#eaf4f4")
    ridges(image, ["#8fc08a", "#5c9a63", "#356b45"], first_y=480, rough=36, seed=13)
    draw = ImageDraw.Draw(image)
    for inset, colour in ((0, "#d8433b"), (44, "#f4b942"), (92, "#d8433b")):
        draw.ellipse((500 + inset, 90, 760 - inset, 370), fill=colour)
    draw.polygon([(560, 340), (700, 340), (655, 430), (605, 430)], fill="#a3302b")
    draw.rectangle((606, 440, 654, 480), fill="#6b4a2b")
    return image


def snow() -> Image.Image:
    image = sky("#8fa9c4", "#e9eef4")
    ridges(image, ["#c9d6e4", "#e6edf4", "#fbfcfe"], first_y=300, rough=110, seed=31)
    dice, draw = random.Random(4), ImageDraw.Draw(image)
    for _ in range(70):
        x, y = dice.randint(0, WIDTH), dice.randint(430, 700)
        draw.polygon([(x, y - 52), (x + 16, y), (x - 16, y)], fill="#3d5a58")
    return image


def lake() -> Image.Image:
    image = sky("#2b1f4b", "#f58f6c")
    glow(image, (520, 300), 70, "#ffe2b0")
    ridges(image, ["#5b3a63", "#3a2850"], first_y=360, rough=50, seed=2)
    ImageDraw.Draw(image).rectangle((0, 560, WIDTH, HEIGHT), fill="#4b2f55")
    ridges(image, ["#150f22"], first_y=660, rough=18, seed=8)
    return image


SCENES: tuple[tuple[Callable[[], Image.Image], str, str], ...] = (
    (fog, "wan/v2.2-a14b/image-to-video", "Fog rolls through the valley, slow drift to the right, cold dawn"),
    (
        city,
        "kling-video/v2.5-turbo/pro/image-to-video",
        "Windows light up one by one, slow push-in, blue hour",
    ),
    (dunes, "minimax/hailuo-2.3/pro/image-to-video", "Sand blows over the ridge, low camera, hot afternoon"),
    (balloon, "minimax/hailuo-2.3-fast/pro/image-to-video", "The balloon rises, camera follows it up, calm"),
    (
        lake,
        "minimax/hailuo-2.3/standard/image-to-video",
        "Ripples cross the lake, slow pull-back, last light",
    ),
    (
        snow,
        "minimax/hailuo-2.3/pro/image-to-video",
        "Snow falls over the pass, camera climbs, winter silence",
    ),
    (
        lighthouse,
        "minimax/hailuo-2.3/pro/image-to-video",
        "The lamp turns, clouds drift behind the tower, dusk",
    ),
)
RUNNING = (lake, "minimax/hailuo-2.3/pro/image-to-video", "Wind moves the reeds, the sun sinks, slow push-in")


def order(studio: Studio, files: Path, scene: tuple[Callable[[], Image.Image], str, str]) -> None:
    draw, engine, prompt = scene
    path = files / f"{draw.__name__}.jpg"
    draw().save(path, quality=90)
    studio.page.goto(f"/?engine=fal-ai/{engine}")
    studio.choose(path)
    studio.prompt.fill(prompt)
    studio.button.click()
    expect(studio.card(prompt)).to_be_visible()


def compose(stack: Stack, page: Page, files: Path) -> bytes:
    studio = Studio(page)
    for scene in SCENES:
        order(studio, files, scene)
        expect(studio.card(scene[2])).to_contain_text("Ready")
    dated = stack.manage("shell", "-c", DATED_BACK)
    assert dated.returncode == 0, dated.stderr
    stack.sandbox.settings(job_seconds=60)
    order(studio, files, RUNNING)
    expect(studio.card(RUNNING[2])).to_contain_text("Running")
    for frame in page.locator(".card img").all():
        frame.evaluate("it => { it.loading = 'eager'; return it.decode() }")
    page.mouse.move(1, VIEWPORT["height"] - 1)
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    page.wait_for_timeout(2_500)
    return page.screenshot()


def shrunk(png: bytes) -> bytes:
    """With as many colours as the bytes allow."""
    with Image.open(io.BytesIO(png)) as shot:
        image = shot.convert("RGB")
    for colours in (256, 192, 128, 96, 64):
        small = io.BytesIO()
        image.quantize(palette=image.quantize(colours)).save(small, "PNG", optimize=True)
        if small.tell() <= MOST_BYTES:
            return small.getvalue()
    raise AssertionError(f"the screenshot is larger than {MOST_BYTES} bytes")


def main() -> None:
    expect.set_options(timeout=SLOW_MS)
    with (
        TemporaryDirectory() as files,
        running_stack(job_seconds=2, fast_clips=False) as stack,
        sync_playwright() as player,
    ):
        browser = player.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(base_url=stack.url, viewport=VIEWPORT, color_scheme="light")  # type: ignore[arg-type]
        page = Person(context).sign_in("member@example.com", stack.password)
        TARGET.write_bytes(shrunk(compose(stack, page, Path(files))))
        browser.close()
    print(f"{TARGET}: {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
