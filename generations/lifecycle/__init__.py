"""THE ONLY WRITER OF STATE: how a generation is requested, sent, watched, stored, cancelled and settled.

Everything else asks this room. `ordering` holds the credits with the row, `line` says who goes next, in the order that
`reordering` lets each member choose for their own, `dispatching` makes the one POST per attempt, `watching` writes down
what fal says, `ingesting` brings the clip home and captures, `canceling`, `timeouts` and `lost` end what will not come,
`breaking` holds back what fal fails for everybody, `sweeping` moves on what is stuck, `operating` has what a person may
do about it. `moves` makes every change of state, and settles the hold with it.
"""

from generations.lifecycle.breaking import Probing
from generations.lifecycle.canceling import cancel, send_cancel
from generations.lifecycle.connection import fal_client, fal_config
from generations.lifecycle.deliveries import process_delivery, record_delivery
from generations.lifecycle.dispatching import dispatch
from generations.lifecycle.errors import (
    AlreadySent,
    EngineHidden,
    LifecycleError,
    NotAMember,
    NotOffered,
    NotOrderable,
    NotWaiting,
    NotYours,
    PriceChanged,
    UnknownDelivery,
)
from generations.lifecycle.ingesting import ingest
from generations.lifecycle.late import bring_late, keep_late
from generations.lifecycle.line import Line, Waiting, waiting_line, waiting_position, waiting_positions
from generations.lifecycle.lost import adopt_given_up
from generations.lifecycle.lost import resolve_all as resolve_lost
from generations.lifecycle.operating import (
    give_up,
    lift_pause,
    look_now,
    probe_engine_now,
    probe_now,
    sweep_now,
)
from generations.lifecycle.ordering import (
    Approved,
    Quote,
    binding_quote,
    one_at_a_time,
    quote,
    request,
    tidy_tag,
)
from generations.lifecycle.reordering import Move, reorder
from generations.lifecycle.sweeping import ring_waiting, sweep
from generations.lifecycle.watching import called_about, check, observe, observe_many, unknown

__all__ = [
    "AlreadySent",
    "Approved",
    "EngineHidden",
    "LifecycleError",
    "Line",
    "Move",
    "NotAMember",
    "NotOffered",
    "NotOrderable",
    "NotWaiting",
    "NotYours",
    "PriceChanged",
    "Probing",
    "Quote",
    "UnknownDelivery",
    "Waiting",
    "adopt_given_up",
    "binding_quote",
    "bring_late",
    "called_about",
    "cancel",
    "check",
    "dispatch",
    "fal_client",
    "fal_config",
    "give_up",
    "ingest",
    "keep_late",
    "lift_pause",
    "look_now",
    "observe",
    "observe_many",
    "one_at_a_time",
    "probe_engine_now",
    "probe_now",
    "process_delivery",
    "quote",
    "record_delivery",
    "reorder",
    "request",
    "resolve_lost",
    "ring_waiting",
    "send_cancel",
    "sweep",
    "sweep_now",
    "tidy_tag",
    "unknown",
    "waiting_line",
    "waiting_position",
    "waiting_positions",
]
