"""Does a picture fit an engine? Asked before any hold, answered in sentences with that engine's limits."""

from collections.abc import Iterator

from generations.catalogue.schema import Engine, PictureLimits

NAMES = {"jpeg": "JPEG", "png": "PNG", "webp": "WebP", "gif": "GIF", "avif": "AVIF"}
MIB = 1024 * 1024


def check_picture(
    engine: Engine,
    *,
    format: str,  # noqa: A002
    bytes: int,  # noqa: A002
    width: int,
    height: int,
) -> list[str]:
    """What is wrong with a picture for this engine, one sentence each; empty when it fits.

    `format` is what decoding found ("jpeg", "png", ...), `bytes` the size of the file that would be sent, and
    the sides are pixels after turning it upright.
    """
    limits = engine.limits.picture
    if limits is None:
        return [f"{engine.label} takes no picture."]
    problems = [
        _format(limits, format),
        _bytes(limits, bytes),
        *_sides(limits, width, height),
    ]
    return [f"This picture {is_} {engine.label} {takes}." for is_, takes in filter(None, problems)]


def fitting_sides(engine: Engine, *, width: int, height: int) -> tuple[int, int]:
    """The sides (px) a picture is sent with: scaled down to the engine's largest side, never up."""
    limits = engine.limits.picture
    most = (limits and limits.max_side_px) or 0
    longest = max(width, height)
    if not most or longest <= most:
        return width, height
    return max(1, round(width * most / longest)), max(1, round(height * most / longest))


def normal_format(found: str) -> str:
    """ "JPG" and "jpeg" are the same thing."""
    name = found.strip().lower().removeprefix(".")
    return "jpeg" if name == "jpg" else name


def _format(limits: PictureLimits, found: str) -> tuple[str, str] | None:
    name = normal_format(found)
    if name in limits.formats:
        return None
    *others, last = (NAMES[known] for known in limits.formats)
    takes = f"{', '.join(others)} or {last}" if others else last
    return (
        f"is {NAMES.get(name, name.upper() or 'of an unknown kind')};",
        f"takes {takes}",
    )


def _bytes(limits: PictureLimits, size: int) -> tuple[str, str] | None:
    if limits.max_bytes is None or size <= limits.max_bytes:
        return None
    return f"has {size / MIB:.1f} MB;", f"takes at most {limits.max_bytes / MIB:g} MB"


def _sides(limits: PictureLimits, width: int, height: int) -> Iterator[tuple[str, str]]:
    is_ = f"is {width} x {height} px;"
    if limits.min_side_px and min(width, height) < limits.min_side_px:
        yield is_, f"needs at least {limits.min_side_px} px on each side"
    if limits.max_side_px and max(width, height) > limits.max_side_px:
        yield is_, f"takes at most {limits.max_side_px} px on each side"
    # Multiplied, not divided: a side of 0 is a wrong picture, not a crash.
    if limits.min_ratio and width < limits.min_ratio * height:
        yield is_, f"takes nothing narrower than {limits.min_ratio:g} times its height"
    if limits.max_ratio and width > limits.max_ratio * height:
        yield is_, f"takes nothing wider than {limits.max_ratio:g} times its height"
