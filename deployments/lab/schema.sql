-- The audit trail's own database, as the system under care has it. Run as audit_owner.

-- One row a record: the sealed line and its leaf hash, SHA-256(0x00 || record). seq is the leaf's
-- place in the Merkle tree, from 0, without gaps.
CREATE TABLE audit_records (
    seq bigint PRIMARY KEY CHECK (seq >= 0),
    record bytea NOT NULL,
    leaf bytea NOT NULL CHECK (octet_length(leaf) = 32),
    event_type text
);
CREATE INDEX audit_records_event_type ON audit_records (event_type, seq);

-- JSON is derived, never stored, because jsonb loses the spelling that was hashed. A damaged line
-- need not be JSON: then there is nothing to show.
CREATE FUNCTION audit_json(line bytea) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS
$$
BEGIN
    RETURN pg_catalog.convert_from(line, 'UTF8')::pg_catalog.jsonb;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END
$$;

-- The column is a convenience for queries; whoever does not name it gets it from the line.
CREATE FUNCTION audit_fill_event_type() RETURNS trigger
    LANGUAGE plpgsql SET search_path = public AS
$$
BEGIN
    NEW.event_type := audit_json(NEW.record) ->> 'event_type';
    RETURN NEW;
END
$$;
CREATE TRIGGER audit_fill_event_type BEFORE INSERT ON audit_records
    FOR EACH ROW WHEN (NEW.event_type IS NULL) EXECUTE FUNCTION audit_fill_event_type();

CREATE VIEW audit_events AS
SELECT seq,
       event ->> 'event_id' AS event_id,
       event ->> 'event_type' AS event_type,
       event ->> 'session_id' AS session_id,
       event ->> 'timestamp' AS "timestamp",
       event -> 'data' AS event_data,
       encode(leaf, 'hex') AS integrity_hash,
       event ->> '_prev' AS previous_hash
  FROM (SELECT seq, leaf, audit_json(record) AS event FROM audit_records) AS derived;

GRANT SELECT ON audit_records, audit_events TO audit_reader, sealer;
GRANT SELECT, INSERT ON audit_records TO audit_api;
GRANT SELECT ON audit_events TO audit_api;
