"""`manage.py quote`: credits first, exit 1 with a sentence when it cannot say."""

import subprocess
import sys
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from generations.models import PriceVersion

ROOT = Path(__file__).parents[3]
HAILUO = "fal-ai/minimax/hailuo-2.3/pro/image-to-video"


def quote(*words: str) -> list[str]:
    out = StringIO()
    call_command("quote", *words, stdout=out)
    return out.getvalue().splitlines()


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ([HAILUO], "49 credits"),
        (["hailuo-2.3/standard/image-to-video", "duration=10"], "56 credits"),
        (["kling-video/v2.6/pro/image-to-video"], "35 credits"),
        (
            ["kling-video/v2.6/pro/image-to-video", "duration=10", "generate_audio=true", "voice_control=true"],
            "168 credits",
        ),
        (["veo3.1", "prompt=Waves, slow = calm", "duration=4s"], "80 credits"),
        (["mmaudio", "duration=8"], "1 credit"),
        (["topaz", "seconds=6", "output_tier=>1080p", "fps60=true"], "96 credits"),
        (["seedvr", "out_width=1920", "out_height=1080", "frames=121"], "26 credits"),
    ],
)  # fmt: skip
def test_credits_come_first_and_the_files_need_no_database(words, first):
    assert quote("--catalogue", *words)[0] == first  # pytest-django refuses any query here


def test_the_rule_and_what_it_read_are_shown():
    lines = quote("--catalogue", "wan-25-preview/text-to-video", "resolution=480p")
    assert 'depends on: duration="5", resolution="480p"' in lines
    assert any(line.startswith('rule: {"quantity"') for line in lines)


def test_credits_per_dollar_are_a_setting(settings):
    settings.CREDITS_PER_USD = 1000
    assert quote("--catalogue", HAILUO)[0] == "490 credits"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["hailuo-2.3/pro"], "More than one engine"),
        (["halo 2.3 pro"], "Did you mean"),
        ([HAILUO, "duration=6"], "has no input 'duration'"),
        (["veo3.1", "duration=5s"], "4s, 6s or 8s"),
        (["veo3.1", "duration"], "not of the form name=value"),
        (["veo3.1", "duration=4s", "duration=8s"], "given twice"),
        (["trim-video"], "known only after fal has run it"),
        (["fast/reference-to-video"], "no known price"),
        (["seedvr", "out_width=nan", "out_height=1", "frames=1"], "out_width must be a number"),
    ],
)
def test_what_cannot_be_quoted_is_said(words, says):
    with pytest.raises(CommandError, match=says):
        quote("--catalogue", *words)


def test_from_a_shell_a_refusal_exits_with_1():
    done = subprocess.run(
        [sys.executable, "manage.py", "quote", "--catalogue", "veo3.1", "duration=5s"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert "Duration must be 4s, 6s or 8s" in done.stderr


@pytest.mark.django_db
def test_without_the_flag_the_price_version_in_force_decides():
    assert quote(HAILUO)[0] == "49 credits"
    dearer = {"quantity": {"kind": "one"}, "rate": {"usd": "0.525"}}
    soon = timezone.now() + timedelta(hours=1)
    PriceVersion.objects.create(engine=HAILUO, rule=dearer, valid_from=soon, reason="announced")
    assert quote(HAILUO)[0] == "49 credits"
    now = PriceVersion.objects.create(engine=HAILUO, rule=dearer, reason="fal raised it")
    lines = quote(HAILUO)
    assert lines[0] == "53 credits"
    assert any(line.startswith(f"from: price version {now.pk}, in force since") for line in lines)
    assert quote("--catalogue", HAILUO)[0] == "49 credits"
