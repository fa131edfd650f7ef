"""One wish sent more than once, and many wishes for the last credits, through the web's pages."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
from django.urls import reverse

from accounts.models import Hold, Wallet
from generations.models import Generation
from tests.fault_matrix.installation import Installation
from tests.fault_matrix.marks import MATRIX
from tests.fault_matrix.people import Member, prompt, settle
from tests.fault_matrix.tale import Tale, wait_all
from tests.fault_matrix.weather import Weather

pytestmark = MATRIX

SUBMITS, LAST = 50, 10


def test_double_click_two_tabs_and_a_re_sent_form_are_one_generation_and_all_show_it(
    site: Installation, ann: Member
) -> None:
    token, words = ann.form_token(), prompt("")
    tabs = [ann, ann.another_browser()]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda tab: tab.press(words, token=token), [*tabs, *tabs]))
    assert [answer.status_code for answer in answers] == [302] * 4
    tale = Tale(ann.made_by(token).pk, site)
    tale.wait_settled().assert_charged()
    again = ann.press(words, token=token)
    assert again.status_code == 302
    assert reverse("generations:show", args=[tale.pk]) in ann.get(again.headers["location"]).text
    assert Generation.objects.filter(prompt=words).count() == 1
    assert Hold.objects.filter(reference=tale.generation.reference).count() == 1
    assert len(tale.posts) == 1


def test_50_submits_for_the_last_10_are_exactly_10_and_the_rest_are_told_what_is_left(
    site: Installation, weather: Weather
) -> None:
    price = next(iter(weather.values())).generation.quote_credits
    bob = Member(settle("bob", amount=LAST * price + price - 1), site.house.web_url).sign_in()
    with ThreadPoolExecutor(SUBMITS) as pool:
        answers = list(pool.map(_pressed, [bob.another_browser() for _ in range(SUBMITS)]))
    taken = [answer for answer in answers if answer.status_code == 302]
    refused = [answer for answer in answers if answer.status_code == 422]
    assert (len(taken), len(refused)) == (LAST, SUBMITS - LAST)
    left = f"This needs {price} credits; your team has {price - 1} available."
    assert all(left in answer.text for answer in refused)
    tales = [Tale(row.pk, site) for row in Generation.objects.filter(user=bob.membership.user)]
    assert len(tales) == LAST
    wait_all(tales)
    for tale in tales:
        tale.assert_charged()
    wallet = Wallet.objects.get(team=bob.membership.team)
    assert wallet.held == 0


def _pressed(browser: Member) -> httpx.Response:
    return browser.press(prompt(""), token=str(uuid.uuid4()))
