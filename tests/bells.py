"""The broker's queues, as a test wants them that counts bells or waits for the first: empty."""

from __future__ import annotations

from generations import queue


def forget_bells() -> None:
    """What earlier tests rang and nobody took."""
    with queue.broker_connection() as broker, broker.channel() as channel:
        for name in queue.QUEUES:
            channel.queue_purge(name)
