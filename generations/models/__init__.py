"""What was asked for and what became of it. Reads live on the QuerySets; `generations.lifecycle` writes the state."""

from generations.models.asking import CreditRequest, CreditRequestPicture, CreditRequestStep
from generations.models.breakers import Breaker
from generations.models.generation import Generation, GenerationPicture, GenerationQuerySet
from generations.models.prices import ListPrice, PriceProposal, PriceVersion
from generations.models.reconciliation import Bill, BillCursor, BillMatch
from generations.models.spend import CostNote, DailySpend, SpendCursor
from generations.models.traffic import Attempt, Delivery, DispatchPause, LogLine
from generations.models.works import LateClip, Output, Picture

__all__ = [
    "Attempt",
    "Bill",
    "BillCursor",
    "BillMatch",
    "Breaker",
    "CostNote",
    "CreditRequest",
    "CreditRequestPicture",
    "CreditRequestStep",
    "DailySpend",
    "Delivery",
    "DispatchPause",
    "Generation",
    "GenerationPicture",
    "GenerationQuerySet",
    "LateClip",
    "ListPrice",
    "LogLine",
    "Output",
    "Picture",
    "PriceProposal",
    "PriceVersion",
    "SpendCursor",
]
