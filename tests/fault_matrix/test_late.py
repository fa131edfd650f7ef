"""fal made a clip after we had given its request up and told the member that nothing was charged."""

from __future__ import annotations

from generations.models import Delivery, LateClip
from tests.fault_matrix.caller import Caller
from tests.fault_matrix.conftest import Order
from tests.fault_matrix.installation import Installation
from tests.fault_matrix.marks import MATRIX

pytestmark = MATRIX


def test_success_after_we_gave_up_is_kept_and_listed_and_never_captured_from_a_released_hold(
    site: Installation, order: Order
) -> None:
    tale = order("drop=after stuck webhook=none")
    site.wait(lambda: tale.is_lost, what="the attempt is lost")
    tale.let_deadline_pass()
    tale.wait_settled().assert_not_charged("submit_lost")
    request_id = tale.jobs[0]["request_id"]
    site.books.finish(request_id)
    site.wait(lambda: tale.jobs[0]["state"] == "COMPLETED", what="fal has made the clip after all")
    assert Caller(site)(tale.attempt, request_id=request_id) == 200
    rows = Delivery.objects.filter(attempt=tale.attempt, processed_at__isnull=False)
    delivery = site.wait(rows.first, what="the delivery was acted upon")
    assert delivery.outcome == "too late: the generation was failed; its clip is looked for"
    late = site.wait(LateClip.objects.filter(generation=tale.generation).first, what="the clip is offered")
    assert late.state == LateClip.State.OFFERED
    tale.assert_not_charged("submit_lost")
    assert (tale.attempt.request_id, tale.attempt.is_maybe_billed) == (request_id, True)
    cost = site.wait(lambda: tale.attempt.fal_cost_usd, what="what fal took is written beside it")
    assert cost == site.books.bills_usd()[request_id].quantize(cost)
