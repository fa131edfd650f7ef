"""What the daily rows are made of, as SQL: the entries of a wallet's book and the notes of what fal took.

The rolling writes these sums down, the reading adds those that are not written yet: one text for both, so that they
cannot disagree.
"""

from __future__ import annotations

from generations.models import DailySpend
from generations.states import SETTLED

KEY = ("day", "member_id", "engine", "tag", "outcome")
SUMS = DailySpend.SUMS
COLUMNS = ", ".join((*KEY, *SUMS))
_SETTLED = ", ".join(f"'{state.value}'" for state in sorted(SETTLED))

# A settled generation keeps its state, engine, tag and clip, and each entry its numbers: what was added up stays true.
# Work that is none of our generations (a hold of another kind) is told by its entry alone.
ENTRIES = f"""
SELECT seq, day, member_id, engine, tag, outcome,
    (kind IN ('capture', 'release'))::int AS settled,
    (kind = 'capture')::int AS succeeded,
    (kind = 'release' AND outcome = 'failed')::int AS failed,
    CASE kind WHEN 'capture' THEN captured_delta ELSE 0 END AS spent,
    CASE kind WHEN 'refund' THEN -captured_delta ELSE 0 END AS refunded,
    coalesce(CASE WHEN kind = 'capture' THEN duration_seconds WHEN is_refunded_whole THEN -duration_seconds END, 0)
        AS seconds,
    0::numeric AS fal_cost_usd,
    granted_delta, available_delta, held_delta, captured_delta, expired_delta, adjusted_out_delta
FROM (
    SELECT e.*, (e.created_at AT TIME ZONE %(zone)s)::date AS day, coalesce(e.user_id, 0) AS member_id,
        coalesce(g.engine, '') AS engine, coalesce(g.tag, '') AS tag, o.duration_seconds,
        CASE WHEN e.kind IN ('capture', 'release', 'refund')
             THEN CASE WHEN g.state IN ({_SETTLED}) THEN g.state
                       WHEN e.kind = 'release' THEN 'failed' ELSE 'succeeded' END
             ELSE '' END AS outcome,
        e.kind = 'refund' AND (
            SELECT sum(p.captured_delta) FROM accounts_entry p WHERE p.hold_id = e.hold_id AND p.seq <= e.seq
        ) = 0 AS is_refunded_whole
    FROM accounts_entry e
    LEFT JOIN generations_generation g ON g.hold_id = e.hold_id
    LEFT JOIN generations_output o ON o.generation_id = g.id
    WHERE e.wallet_id = %(wallet)s AND e.seq > %(after)s AND e.seq <= %(until)s
) named
"""  # noqa: S608 - only names of ours are put in

# Dollars stand on the day on which the work was settled, beside its credits; until then they wait.
_OF_NOTES = """
(g.settled_at AT TIME ZONE %(zone)s)::date AS day, g.user_id AS member_id, g.engine, g.tag, g.state AS outcome,
0 AS settled, 0 AS succeeded, 0 AS failed, 0 AS spent, 0 AS refunded, 0::float8 AS seconds, n.delta_usd AS fal_cost_usd,
0 AS granted_delta, 0 AS available_delta, 0 AS held_delta, 0 AS captured_delta, 0 AS expired_delta,
0 AS adjusted_out_delta
"""
_NOTES_HERE = f"""
a.id = n.attempt_id AND g.id = a.generation_id AND g.state IN ({_SETTLED})
AND g.team_id = (SELECT team_id FROM accounts_wallet WHERE id = %(wallet)s)
"""  # noqa: S608
NOTES = f"""
SELECT {_OF_NOTES} FROM generations_costnote n, generations_attempt a, generations_generation g WHERE {_NOTES_HERE}
"""  # noqa: S608
TAKE_NOTES = f"""
DELETE FROM generations_costnote n USING generations_attempt a, generations_generation g WHERE {_NOTES_HERE}
RETURNING {_OF_NOTES}
"""  # noqa: S608
