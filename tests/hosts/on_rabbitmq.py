"""The same work on RabbitMQ: workers are killed, the broker is restarted and frozen while members order."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import amqp
import httpx

from config.stack.rabbitmq import RabbitMq
from generations import queue
from generations.drill.house import House
from generations.drill.jobs import Host
from tests.hosts.stage import Stage, Visitor

FROZEN_SECONDS = 6
# Whoever is killed between writing down and sending leaves an attempt that fal's history has to explain first.
PATIENT = {"LOST_DEADLINE_SECONDS": "300"}
SETTLED_SECONDS = 180


def play(place: House, broker: RabbitMq) -> dict[str, Any]:
    with Stage(place, [Host(env=PATIENT)], workers=2).up() as stage:
        visitor = Visitor(stage.webs[0], stage.customers[0])
        stage.order("seconds=1", count=8)
        stage.order("seconds=1", "download=slow:4", count=4)
        stage.tend_until(_has_clips_on_the_way, seconds=60, what="a worker brings a clip home")
        killed = [stage.fleet.kill(name) for name in ("worker-1", "worker-clips")]
        stage.order("seconds=1", count=8)
        broker.restart()
        stage.order("seconds=1", count=8)
        stage.tend_until(stage.are_placed, seconds=60, what="the orders before")
        usual_seconds = stage.order_now()
        order_seconds = _ordered_while_frozen(stage, broker)
        stage.tend_until(stage.are_placed, seconds=60, what="every order is taken")
        stage.tend_until(stage.is_quiet, seconds=SETTLED_SECONDS, what="everything is settled")
        metrics = httpx.get(f"{stage.webs[0]}/metrics", timeout=20).text
        return stage.verdict() | {
            "killed": killed,
            "pages": visitor.leave(),
            "usual_order_seconds": round(usual_seconds, 2),
            "order_seconds": round(order_seconds, 2),
            "queues": {name: _kind_of(name, broker) for name in queue.QUEUES},
            "metrics": [line for line in metrics.splitlines() if line.startswith("clipledger_broker_")],
        }


def _has_clips_on_the_way() -> bool:
    from generations.models import Generation

    return Generation.objects.filter(lease_owner__startswith="ingest@").exists()


def _ordered_while_frozen(stage: Stage, broker: RabbitMq) -> float:
    """How long the slowest of a few orders took to be taken."""
    slowest = 0.0
    os.kill(broker.process.pid, signal.SIGSTOP)
    try:
        ends_at = time.monotonic() + FROZEN_SECONDS
        while time.monotonic() < ends_at:
            slowest = max(slowest, stage.order_now())
            stage.tend_for(0.5)
    finally:
        os.kill(broker.process.pid, signal.SIGCONT)
    return slowest


def _kind_of(name: str, broker: RabbitMq) -> str:
    """Declared again as it is not, a queue answers what it is."""
    password = broker.url.split(":")[2].partition("@")[0]
    at = f"127.0.0.1:{broker.port}"
    with amqp.Connection(at, userid="clipledger", password=password) as connection:
        try:
            connection.channel().queue_declare(
                name, durable=True, auto_delete=False, arguments={"x-queue-type": "classic"}
            )
        except amqp.PreconditionFailed as refused:
            return "quorum" if "quorum" in str(refused) else str(refused)
    return "classic"
