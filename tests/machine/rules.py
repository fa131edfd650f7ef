"""The machine: each step lets people do up to four things at once, and now and then a process is killed."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial

from django.db import connection
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from accounts.ledger import check
from generations.drill.fleet import Fleet
from generations.drill.plan import KILLS
from generations.models import Generation
from tests.machine.acts import OFTEN, Act, Draw
from tests.machine.office import ACTS_AT_ONCE, Office

STEPS = 50
EXAMPLES = 20
STEPS_PER_KILL = 12
STEPS_PER_CHECK = 25
# More would only wait: FAL_CONCURRENCY is twelve here.
MOST_UNSETTLED = 60

acts = st.tuples(
    st.sampled_from([act for act, often in OFTEN.items() for _ in range(often)]), st.integers(0, 2**32 - 1)
)
# Nobody, most of the time.
victims = st.sampled_from(["", *KILLS]).flatmap(
    lambda name: st.sampled_from([*("",) * (STEPS_PER_KILL - 1), name])
)


@dataclass
class Run:
    """How far the machine has come, over all its examples."""

    office: Office
    fleet: Fleet
    wanted: int
    ends_at: float
    acts: int = 0
    steps: int = 0
    kills: dict[str, int] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        is_late = time.monotonic() > self.ends_at
        return is_late or self.acts >= self.wanted or bool(self.office.paper.wrong)

    def strike(self, victim: str, *, is_child: bool) -> None:
        has_struck = self.fleet.kill_child(victim, self.steps) if is_child else self.fleet.kill(victim)
        if has_struck:
            self.kills[victim] = self.kills.get(victim, 0) + 1

    def breathe(self) -> None:
        """Keep the processes up, and let them keep up."""
        self.fleet.tend()
        while Generation.objects.unsettled().count() > MOST_UNSETTLED:
            self.fleet.tend()
            time.sleep(0.1)
        if self.steps % STEPS_PER_CHECK == 0:
            for team in self.office.town.teams:
                for breach in check.breaches(wallet=team.wallet):
                    self.office.paper.complain(f"after {self.acts} acts: {breach}")


def machine(run: Run) -> type[RuleBasedStateMachine]:
    class Machine(RuleBasedStateMachine):
        @rule(drawn=st.lists(acts, min_size=1, max_size=ACTS_AT_ONCE), victim=victims)
        def people_act(self, drawn: list[tuple[Act, int]], victim: str) -> None:
            # Hypothesis begins with the simplest example there is: the same order fifty times.
            if run.is_over or not any(number for _, number in drawn):
                return
            run.breathe()
            if victim:
                run.strike(victim, is_child=victim.startswith("worker") and drawn[0][1] % 2 == 0)
            does = [partial(act, run.office, Draw(f"{run.acts} {number}")) for act, number in drawn]
            run.office.at_once(does, meanwhile=run.fleet.tend)
            run.acts += len(drawn)
            run.steps += 1

    return Machine


def turn(run: Run, *, number: int) -> None:
    """Draw and do until enough was done or something is wrong. The same number draws the same acts and blows.

    A finding never becomes an exception in here: Hypothesis would do the example again to see it twice, and no second
    run of real processes is the same.
    """
    while not run.is_over:
        once = settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            phases=[Phase.generate],
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        run_state_machine_as_test(seed(number)(machine(run)), settings=once)
        number += 1
    connection.close()
