-- The responder's own tables. Every statement may be run again.
SELECT pg_advisory_xact_lock(1381321298);

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
CREATE INDEX IF NOT EXISTS dispatches_open ON dispatches (id) WHERE done_at IS NULL;

-- People who may decide. Tokens are stored as SHA-256 only.
CREATE TABLE IF NOT EXISTS people (
    token_hash bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    name text NOT NULL,
    role text NOT NULL,
    expires_at timestamptz NOT NULL
);

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
