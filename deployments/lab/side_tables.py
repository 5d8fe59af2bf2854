"""The tables beside the log, filled from its events, as the served system's components do.

Annotations that carry free text, and every sixteenth of the others, are there: those that somebody
reviews. An event that does not fit is in the log alone.
"""

from contextlib import suppress

import psycopg

_DERIVE = """
WITH chosen AS MATERIALIZED (
    SELECT event_type, event ->> 'event_id' AS event_id, event ->> 'session_id' AS session_id,
           (event ->> 'timestamp')::timestamptz AS at, event -> 'data' AS data
      FROM (SELECT event_type, audit_json(record) AS event FROM audit_records
             WHERE seq >= %(first)s AND seq < %(end)s
               AND (event_type IN ('session_start', 'session_end', 'privacy_budget_update',
                                   'checkpoint', 'compliance_check')
                    OR event_type = 'annotation'
                       AND (seq %% 16 = 0 OR position(%(written)s::bytea IN record) > 0))) AS found
     WHERE pg_input_is_valid(event ->> 'timestamp', 'timestamptz')
), sessions AS (
    INSERT INTO audit_sessions AS s (session_id, model, started_at, ended_at, updated_at)
    SELECT session_id, min(data ->> 'model'), min(at),
           max(at) FILTER (WHERE event_type = 'session_end'), max(at)
      FROM chosen GROUP BY 1
    ON CONFLICT (session_id) DO UPDATE SET
        ended_at = coalesce(excluded.ended_at, s.ended_at),
        updated_at = greatest(s.updated_at, excluded.updated_at)
), annotated AS (
    INSERT INTO annotations (event_id, session_id, annotator, reward, written, seconds, created_at)
    SELECT event_id, session_id, data ->> 'annotator', (data ->> 'reward')::numeric,
           data ->> 'prompt', (data ->> 'seconds')::numeric, at
      FROM chosen WHERE event_type = 'annotation' AND data ? 'annotator'
    ON CONFLICT DO NOTHING
), noted AS (
    INSERT INTO privacy_records (event_id, session_id, noise_multiplier, clip_norm, created_at)
    SELECT event_id, session_id, (data ->> 'noise_multiplier')::numeric,
           (data ->> 'clip_norm')::numeric, at
      FROM chosen WHERE event_type = 'privacy_budget_update'
    ON CONFLICT DO NOTHING
), charged AS (
    INSERT INTO privacy_budgets AS b
        (session_id, annotator, epsilon_used, delta_used, epsilon_total, operations_count,
         updated_at)
    SELECT session_id, data ->> 'annotator', sum((data ->> 'epsilon_spent')::numeric),
           sum((data ->> 'delta_spent')::numeric), max((data ->> 'total_epsilon')::numeric),
           count(*), max(at)
      FROM chosen WHERE event_type = 'privacy_budget_update' AND data ? 'annotator'
     GROUP BY 1, 2
    ON CONFLICT (session_id, annotator) DO UPDATE SET
        epsilon_used = b.epsilon_used + excluded.epsilon_used,
        delta_used = b.delta_used + excluded.delta_used,
        operations_count = b.operations_count + excluded.operations_count,
        updated_at = greatest(b.updated_at, excluded.updated_at)
), stored AS (
    INSERT INTO model_checkpoints (sha256, model, step, bytes, created_at)
    SELECT data ->> 'sha256', data ->> 'model', (data ->> 'step')::bigint,
           (data ->> 'bytes')::bigint, at
      FROM chosen WHERE event_type = 'checkpoint' AND data ? 'sha256'
    ON CONFLICT DO NOTHING
)
INSERT INTO compliance_reports (event_id, framework, score, violations, created_at)
SELECT event_id, data ->> 'framework', (data ->> 'score')::numeric,
       (data ->> 'violations')::integer, at
  FROM chosen WHERE event_type = 'compliance_check'
ON CONFLICT DO NOTHING
"""
_MISFITS = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.InsufficientPrivilege,
)


def derive(connection: psycopg.Connection, first: int, end: int) -> None:
    """Add what the records first..end-1 say to the tables; once for each record.

    Records count more than the tables beside them: what does not fit is left out.
    """
    with suppress(*_MISFITS), connection.transaction():
        connection.execute(_DERIVE, {"first": first, "end": end, "written": b'"prompt":"'})
