"""Money and history as the platform API tells them."""

from __future__ import annotations

from pathlib import Path

import pytest

from generations import catalogue
from tests.generations.sandbox.conftest import PICTURE_ENGINE, TEXT_ENGINE, Caller, caller_for, picture_uri
from tests.sandbox_server import running_sandbox

STANDARD = "fal-ai/minimax/hailuo-2.3/standard/text-to-video"


def events(caller: Caller, request_id: str) -> list[dict[str, float]]:
    return list(caller.platform("models/billing-events", request_id=request_id)["billing_events"])


def ended(caller: Caller, prompt: str, **options: object) -> str:
    job = caller.accepted(prompt, **options)
    caller.completed(job)
    return str(job["request_id"])


@pytest.mark.parametrize(("duration", "units", "usd"), [("6", 1, 0.28), ("10", 2, 0.56)])
def test_a_success_is_billed_as_its_header_said(
    caller: Caller, duration: str, units: int, usd: float
) -> None:
    reply = caller.outcome("A fox", engine=STANDARD, params={"duration": duration})
    [event] = events(caller, reply.headers["x-fal-request-id"])
    assert float(reply.headers["x-fal-billable-units"]) == event["output_units"] == units
    assert event["cost_total"] == pytest.approx(usd)
    assert event["unit_price"] == 0.28


@pytest.mark.parametrize("engine", catalogue.orderable(), ids=lambda engine: engine.slug)
def test_every_orderable_engine_runs_and_costs_what_the_catalogue_says(
    caller: Caller, engine: catalogue.Engine
) -> None:
    pictures = {field.name: picture_uri(500, 400) for field in engine.picture_inputs if field.required}
    params = {field.name: field.default for field in engine.offered_inputs if field.default is not None}
    params |= {name: [uri] if engine.input(name).type == "array" else uri for name, uri in pictures.items()}  # type: ignore[union-attr]
    reply = caller.outcome("A fox", engine=engine.endpoint_id, params=params)
    assert reply.status_code == 200, reply.text
    [event] = events(caller, reply.headers["x-fal-request-id"])
    expected = catalogue.price_usd(engine.price.rule or {}, params | {"prompt": "A fox"})
    assert event["cost_total"] == pytest.approx(float(expected))


@pytest.mark.parametrize("run", ["500", "503", "504:generation_timeout", "403"])
def test_other_failures_are_never_billed(caller: Caller, run: str) -> None:
    assert events(caller, ended(caller, f"[[sandbox: run={run}]]")) == []


def test_a_422_while_running_is_billed_unless_told_otherwise(caller: Caller) -> None:
    assert len(events(caller, ended(caller, "[[sandbox: run=422]]"))) == 1
    caller.sandbox.settings(bill_run_422=False)
    try:
        assert events(caller, ended(caller, "[[sandbox: run=422]]")) == []
    finally:
        caller.sandbox.settings(bill_run_422=True)


def test_a_422_of_the_schema_is_free(caller: Caller) -> None:
    assert events(caller, ended(caller, "A fox", engine=PICTURE_ENGINE)) == []


def test_events_may_be_indexed_late(caller: Caller) -> None:
    caller.sandbox.settings(billing_delay_seconds=60)
    try:
        request_id = ended(caller, "A fox")
        assert events(caller, request_id) == []
    finally:
        caller.sandbox.settings(billing_delay_seconds=0)
    assert len(events(caller, request_id)) == 1


def test_the_balance_goes_down_by_what_was_billed(tmp_path: Path) -> None:
    with running_sandbox(tmp_path, balance_usd=10) as sandbox, caller_for(sandbox).http as http:
        caller = Caller(sandbox, http)
        ended(caller, "A fox")
        assert caller.platform("account/billing", expand="credits") == {
            "username": "sandbox",
            "credits": {"current_balance": 9.51, "currency": "USD"},
        }


def test_prices_come_for_the_engines_asked_for(caller: Caller) -> None:
    [price] = caller.platform("models/pricing", endpoint_id=TEXT_ENGINE)["prices"]
    assert (price["endpoint_id"], price["unit_price"], price["currency"]) == (TEXT_ENGINE, 0.49, "USD")


def test_history_by_endpoint_has_payloads_and_tags(caller: Caller) -> None:
    engine = "fal-ai/veo3.1/fast"
    job = caller.accepted("A fox to find", engine=engine, headers={"X-Fal-Tags": "generation=7,team=2"})
    caller.completed(job)
    page = caller.platform("models/requests/by-endpoint", endpoint_id=engine, expand="payloads")
    item = next(item for item in page["items"] if item["request_id"] == job["request_id"])
    assert item["json_input"]["prompt"] == "A fox to find"
    assert item["json_output"] == caller.result(job).json()
    assert (item["tags"], item["status_code"]) == ({"generation": "7", "team": "2"}, 200)
    plain = caller.platform("models/requests/by-endpoint", endpoint_id=engine, status="error")
    assert job["request_id"] not in [each["request_id"] for each in plain["items"]]
    assert [row["request_id"] for row in caller.sandbox.jobs("tag=generation=7")] == [job["request_id"]]


def test_history_comes_in_pages(caller: Caller) -> None:
    engine = "fal-ai/wan-pro/text-to-video"
    for number in range(3):
        ended(caller, f"Fox {number}", engine=engine)
    first = caller.platform("models/requests/by-endpoint", endpoint_id=engine, limit=2)
    last = caller.platform(
        "models/requests/by-endpoint", endpoint_id=engine, limit=2, cursor=first["next_cursor"]
    )
    ids = [item["request_id"] for item in first["items"] + last["items"]]
    assert (len(first["items"]), first["has_more"], last["has_more"]) == (2, True, False)
    assert len(set(ids)) == len(ids)


def test_erasing_payloads_takes_the_clip_too(caller: Caller) -> None:
    job = caller.accepted("A fox to forget")
    caller.completed(job)
    url = caller.result(job).json()["video"]["url"]
    reply = caller.http.delete(f"{caller.sandbox.platform_url}/models/requests/{job['request_id']}/payloads")
    assert reply.json() == {"cdn_delete_results": [{"link": url, "exception": None}]}
    assert caller.http.get(url).status_code == 404
    assert caller.result(job).status_code == 404


def test_questions_without_an_endpoint_are_refused_in_the_platforms_words(caller: Caller) -> None:
    reply = caller.http.get(f"{caller.sandbox.platform_url}/models/requests/by-endpoint")
    assert (reply.status_code, reply.json()["error"]["type"]) == (400, "validation_error")
    assert caller.platform("meta")["webhook_ip_ranges"]
