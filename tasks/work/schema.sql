-- The responder's own tables. Every statement may be run again, beside gateways at work: under the
-- journal's lock, so that nobody holds a part of what is changed here and waits for the rest.
SELECT pg_advisory_xact_lock(1381322306);

CREATE TABLE IF NOT EXISTS journal (
    seq bigint PRIMARY KEY,
    incident text NOT NULL,
    key text,
    at timestamptz NOT NULL,
    kind text NOT NULL,
    actor text NOT NULL,
    line bytea NOT NULL,
    leaf bytea NOT NULL CHECK (octet_length(leaf) = 32),
    UNIQUE (incident, key)
);
CREATE INDEX IF NOT EXISTS journal_incident ON journal (incident, seq);
CREATE INDEX IF NOT EXISTS journal_kind ON journal (kind, seq);
CREATE INDEX IF NOT EXISTS journal_closed ON journal (incident) WHERE kind = 'closed';

-- Which incidents are open: an index of the journal, written with its facts, so that the intake need
-- not look at all that was ever closed. newest_alert_at: of a firing one, or the opening.
CREATE TABLE IF NOT EXISTS open_incidents (
    incident text PRIMARY KEY,
    seq bigint NOT NULL,
    component text NOT NULL,
    group_key text NOT NULL,
    newest_alert_at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS open_incidents_component ON open_incidents (component);
INSERT INTO open_incidents
SELECT incident, seq, split_part(substr(key, 8), '/', 1), substr(key, 8), at
  FROM journal AS opened
 WHERE kind = 'opened' AND NOT EXISTS (SELECT FROM open_incidents)
   AND NOT EXISTS (SELECT FROM journal AS closed
                    WHERE closed.incident = opened.incident AND closed.kind = 'closed');

-- The sealer's own login may read facts, to sign them, and nothing else of ours.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'sealer') THEN
        GRANT SELECT ON journal TO sealer;
    END IF;
END
$$;

-- What Alertmanager sent, byte for byte, before it was told 2xx.
CREATE TABLE IF NOT EXISTS notifications (
    digest bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    body bytea NOT NULL
);

-- Authenticated but not understood: a bounded prefix with the reason.
CREATE TABLE IF NOT EXISTS quarantine (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    reason text NOT NULL,
    size bigint NOT NULL,
    prefix bytea NOT NULL
);

-- One row per alert event: the same event sent twice has one effect.
CREATE TABLE IF NOT EXISTS alerts (
    fingerprint text NOT NULL,
    starts_at timestamptz NOT NULL,
    status text NOT NULL,
    incident text NOT NULL,
    notification bytea NOT NULL REFERENCES notifications (digest),
    PRIMARY KEY (fingerprint, starts_at, status)
);

-- One row per episode (startsAt) of an alert: what tasks/domain/alert_state.py judges.
-- incident is '' while it belongs to none; resolved_at when its resolved came; began_at orders them,
-- for a startsAt in the future is a wrong clock's; disputed_since while Alertmanager says otherwise;
-- truncated_at when it last came in an incomplete notification.
CREATE TABLE IF NOT EXISTS alert_states (
    fingerprint text NOT NULL,
    starts_at timestamptz NOT NULL,
    labels jsonb NOT NULL,
    source text NOT NULL,
    incident text COLLATE "C" NOT NULL,
    fired boolean NOT NULL,
    resolved_at timestamptz,
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    truncated_at timestamptz,
    disputed_since timestamptz,
    began_at timestamptz NOT NULL GENERATED ALWAYS AS (least(starts_at, first_seen)) STORED,
    PRIMARY KEY (fingerprint, starts_at)
);
CREATE INDEX IF NOT EXISTS alert_states_began ON alert_states (fingerprint, began_at, starts_at);
CREATE INDEX IF NOT EXISTS alert_states_incident ON alert_states (incident);
CREATE INDEX IF NOT EXISTS alert_states_firing
    ON alert_states (incident, fingerprint, starts_at) WHERE resolved_at IS NULL;
CREATE INDEX IF NOT EXISTS alert_states_disputed
    ON alert_states (fingerprint) WHERE disputed_since IS NOT NULL;

-- One row: when Alertmanager was last asked, when it last answered in full, since when it does not,
-- and since when somebody wants it asked at once.
CREATE TABLE IF NOT EXISTS reconciliation (
    one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    asked_at timestamptz,
    answered_at timestamptz,
    unanswered_since timestamptz,
    wanted_at timestamptz
);
INSERT INTO reconciliation DEFAULT VALUES ON CONFLICT DO NOTHING;

-- Alerts that must never fall silent, such as the Watchdog, and when each was last heard.
CREATE TABLE IF NOT EXISTS heartbeats (
    name text PRIMARY KEY,
    last_at timestamptz NOT NULL
);

-- Flow runs to start or to resume: the outbox between the journal and Prefect.
CREATE TABLE IF NOT EXISTS dispatches (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident text NOT NULL,
    deployment text NOT NULL,
    key text NOT NULL UNIQUE,
    enqueued_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    flow_run uuid,
    holder text,
    lease_until timestamptz,
    attempts int NOT NULL DEFAULT 0,
    done_at timestamptz,
    result text
);
-- Taken by urgency (0 to 3 as P0 to P3), then by age; of one component at most `cap` at a time.
DO $$
BEGIN  -- asked first, because ALTER TABLE waits for everybody at work even when it has nothing to do
    IF NOT EXISTS (
        SELECT FROM information_schema.columns
         WHERE table_schema = current_schema AND table_name = 'dispatches' AND column_name = 'cap'
    ) THEN
        ALTER TABLE dispatches
            ADD COLUMN priority smallint NOT NULL DEFAULT 2 CHECK (priority BETWEEN 0 AND 3),
            ADD COLUMN component text NOT NULL DEFAULT '',
            ADD COLUMN cap smallint NOT NULL DEFAULT 0;
        DROP INDEX IF EXISTS dispatches_open;
    END IF;
END
$$;
CREATE INDEX IF NOT EXISTS dispatches_due ON dispatches (priority, id) WHERE done_at IS NULL;
CREATE INDEX IF NOT EXISTS dispatches_incident ON dispatches (incident, id);
CREATE INDEX IF NOT EXISTS dispatches_held ON dispatches (component)
 WHERE done_at IS NULL AND holder IS NOT NULL;

-- The first layout had one row per token and could not tell two names apart: tokens are made anew.
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM information_schema.columns
         WHERE table_schema = current_schema AND table_name = 'people'
           AND column_name = 'token_hash'
    ) THEN
        DROP TABLE people;
    END IF;
END
$$;

-- People, by what their names look like (tasks/domain/names.py). A row is never deleted: a name
-- that has decided must not become somebody else's.
CREATE TABLE IF NOT EXISTS people (
    name_key text PRIMARY KEY,
    name text NOT NULL,
    role text NOT NULL,
    proxied boolean NOT NULL DEFAULT false
);

-- Their tokens, as SHA-256 only; several for a person, so that they can be rotated.
CREATE TABLE IF NOT EXISTS tokens (
    token_hash bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    name_key text NOT NULL REFERENCES people,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);
CREATE INDEX IF NOT EXISTS tokens_person ON tokens (name_key);

-- Logins of browsers, by the SHA-256 of the cookie; good only while the person has a token.
CREATE TABLE IF NOT EXISTS sessions (
    secret_hash bytea PRIMARY KEY CHECK (octet_length(secret_hash) = 32),
    name_key text NOT NULL REFERENCES people,
    expires_at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS sessions_person ON sessions (name_key);

-- One holder per target; the token only grows, so a late holder is recognised at the target.
CREATE TABLE IF NOT EXISTS locks (
    target text PRIMARY KEY,
    token bigint NOT NULL,
    holder text NOT NULL,
    lease_until timestamptz NOT NULL
);

-- The last checkpoint that passed everything, kept outside the patient's blast radius.
CREATE TABLE IF NOT EXISTS anchors (
    origin text NOT NULL,
    size bigint NOT NULL,
    note text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (origin, size)
);

-- Restore drills: an index of the journal's facts, written with them. identity is the backup's
-- (empty: there was none), result is DrillResult.as_json.
CREATE TABLE IF NOT EXISTS drills (
    seq bigint PRIMARY KEY,
    at timestamptz NOT NULL,
    identity text NOT NULL,
    choice text NOT NULL,
    ending text NOT NULL,
    result jsonb NOT NULL
);
CREATE INDEX IF NOT EXISTS drills_backup ON drills (identity, seq);

-- What an incident's long step last said of its progress; overwritten, and no fact.
CREATE TABLE IF NOT EXISTS progress (
    incident text PRIMARY KEY,
    text text NOT NULL,
    at timestamptz NOT NULL
);

-- When scheduled work last succeeded; Prometheus raises the alert when it is too long ago.
CREATE TABLE IF NOT EXISTS successes (
    work text PRIMARY KEY,
    at timestamptz NOT NULL
);

-- Revisions that were seen serving while nothing was wrong, by their holder (ReplicaSet or
-- ControllerRevision), whose name stays: what a roll back may return to.
CREATE TABLE IF NOT EXISTS healthy_revisions (
    namespace text NOT NULL,
    holder text NOT NULL,
    workload text NOT NULL,
    available int NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (namespace, holder)
);
