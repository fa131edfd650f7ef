"""A picture of our own making for whoever has none at hand: evening over a lake, drawn by code, the same each time.

`static/sample.jpg` is its thumbnail; a test compares the two, and says how to draw it anew.
"""

from __future__ import annotations

import itertools
import math
import random
from functools import cache

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from accounts.models import Team, User
from generations.media.pictures import keep_still
from generations.media.stills import Still, keep
from generations.models import Picture

WIDTH, HEIGHT, HORIZON = 1280, 720, 430
THUMBNAIL_SIZE = (640, 360)
NAME = "evening-lake.jpg"
SUN_AT, SUN_RADIUS = (842, 348), 46

Colour = tuple[int, int, int]
SKY: tuple[tuple[float, Colour], ...] = (
    (0.0, (38, 42, 92)),
    (0.35, (104, 78, 138)),
    (0.62, (222, 122, 120)),
    (0.85, (252, 178, 112)),
    (1.0, (255, 222, 160)),
)
# From far to near: height of the crest above the horizon, roughness, colour.
RIDGES: tuple[tuple[int, float, Colour], ...] = (
    (120, 0.9, (168, 112, 142)),
    (84, 1.4, (116, 82, 124)),
    (46, 2.1, (66, 56, 98)),
)


def sample_picture(*, team: Team, user: User) -> Picture:
    """The sample as a picture of this team, stored once. Raises `StorageUnavailable`."""
    return keep_still(_still(), team=team, user=user, original_name=NAME)


def draw_sample() -> Image.Image:
    """1280 x 720 px: sky, sun, three ridges, their reflection in the lake, reeds in front."""
    scene = _gradient(SKY, (WIDTH, HORIZON))
    _glow(scene)
    draw = ImageDraw.Draw(scene)
    for number, (crest, roughness, colour) in enumerate(RIDGES):
        draw.polygon(_ridge(crest, roughness, seed=number), fill=colour)
    picture = Image.new("RGB", (WIDTH, HEIGHT))
    picture.paste(scene)
    picture.paste(_lake(scene), (0, HORIZON))
    _reeds(picture)
    return picture


@cache
def _still() -> Still:
    return keep(draw_sample(), is_lossy=True)


def _gradient(stops: tuple[tuple[float, Colour], ...], size: tuple[int, int]) -> Image.Image:
    """Colours from top to bottom through the stops."""
    column = Image.new("RGB", (1, size[1]))
    for y in range(size[1]):
        column.putpixel((0, y), _colour_at(stops, y / (size[1] - 1)))
    return column.resize(size)


def _colour_at(stops: tuple[tuple[float, Colour], ...], at: float) -> Colour:
    for (low, first), (high, second) in itertools.pairwise(stops):
        if at <= high:
            part = (at - low) / (high - low)
            red, green, blue = (round(a + (b - a) * part) for a, b in zip(first, second, strict=True))
            return red, green, blue
    return stops[-1][1]


def _glow(scene: Image.Image) -> None:
    """The sun and the light around it, added to the sky."""
    for radius, blur, colour in (
        (240, 90, (92, 52, 22)),
        (110, 40, (90, 60, 30)),
        (SUN_RADIUS, 2, (150, 130, 90)),
    ):
        light = Image.new("RGB", scene.size)
        ImageDraw.Draw(light).ellipse(_circle(SUN_AT, radius), fill=colour)
        scene.paste(ImageChops.add(scene, light.filter(ImageFilter.GaussianBlur(blur))))


def _circle(centre: tuple[int, int], radius: int) -> tuple[int, int, int, int]:
    x, y = centre
    return x - radius, y - radius, x + radius, y + radius


def _ridge(crest: int, roughness: float, *, seed: int) -> list[tuple[float, float]]:
    """A mountain line as a sum of waves, closed along the horizon."""
    dice = random.Random(seed)  # noqa: S311  scenery, not a secret
    waves = [(dice.uniform(0.6, 1.4) * 2**k, dice.uniform(0, math.tau), 0.5**k) for k in range(6)]
    line = []
    for x in range(0, WIDTH + 1, 4):
        swing = sum(size * math.sin(rate * roughness * x / 200 + phase) for rate, phase, size in waves)
        line.append((float(x), HORIZON - crest * (0.62 + 0.22 * swing)))
    return [(0.0, float(HORIZON)), *line, (float(WIDTH), float(HORIZON))]


def _lake(scene: Image.Image) -> Image.Image:
    """The scene upside down, darker towards us, each row shifted by ripples that grow towards us."""
    depth = HEIGHT - HORIZON
    mirror = scene.transpose(Image.Transpose.FLIP_TOP_BOTTOM).crop((0, 0, WIDTH, depth))
    mirror = mirror.filter(ImageFilter.GaussianBlur(1.5))
    water = Image.new("RGB", mirror.size)
    for y in range(depth):
        shift = round((1 + y / 14) * math.sin(y * 0.9 + 6 * math.sin(y * 0.07)))
        water.paste(ImageChops.offset(mirror.crop((0, y, WIDTH, y + 1)), shift, 0), (0, y))
    shade = _gradient(((0.0, (20, 24, 52)), (1.0, (10, 20, 44))), water.size)
    mask = _gradient(((0.0, (56, 56, 56)), (1.0, (150, 150, 150))), water.size).convert("L")
    return Image.composite(shade, water, mask)


def _reeds(picture: Image.Image) -> None:
    """Blades along the near shore, drawn large and made smaller so that their edges are soft."""
    dice = random.Random(7)  # noqa: S311  scenery, not a secret
    mask = Image.new("L", (WIDTH * 2, HEIGHT * 2))
    draw = ImageDraw.Draw(mask)
    for _ in range(240):
        x = dice.triangular(0, WIDTH * 2, 180) if dice.random() < 0.7 else dice.uniform(0, WIDTH * 2)
        tall = dice.uniform(60, 330) * (1.15 - 0.75 * min(x / (WIDTH * 2), 1))
        lean, foot = dice.uniform(-60, 70), HEIGHT * 2
        draw.polygon([(x - 4, foot), (x + 4, foot), (x + lean, foot - tall)], fill=255)
    picture.paste((14, 16, 34), mask=mask.resize(picture.size, Image.Resampling.LANCZOS))
