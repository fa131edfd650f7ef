"""The process that waits for fal, so that no task has to: leases, status streams, and polling under a budget.

Any number may run. Each claims due rows, renews its leases while it lives, and writes only what changed, through
`lifecycle.observe`. One that dies loses its leases within seconds and another takes over.
"""

from generations.watcher.loop import Watcher

__all__ = ["Watcher"]
