"""Where the credits went: the daily roll-up of the book, what reports read of it, and the files they are exported to.

Reading costs the same with five thousand entries or five million: the daily rows, and the few entries behind the cursor
as they stand, of one moment. So a report is right to the credit at every moment, whether or not the sweep has run.
"""

from generations.spend.forecast import Forecast, burn_down
from generations.spend.periods import PERIODS, Period, chosen
from generations.spend.rolling import roll_up, roll_up_due
from generations.spend.totals import Filter, Report, Totals, report, used, zone_of

__all__ = [
    "PERIODS",
    "Filter",
    "Forecast",
    "Period",
    "Report",
    "Totals",
    "burn_down",
    "chosen",
    "report",
    "roll_up",
    "roll_up_due",
    "used",
    "zone_of",
]
