-- Copies of audit logs for sites with more than some hundred million entries.
-- Apply once as the owner:  gateway audit schema | psql ...
-- The role that ships needs only:
--   GRANT USAGE ON SCHEMA yizheng_audit TO shipper;
--   GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA yizheng_audit TO shipper;
--   GRANT EXECUTE ON FUNCTION yizheng_audit.month(date) TO shipper;
-- What is here is a copy: each row has its leaf hash, and open and closed are the
-- log's own bytes, so that any row can be held against the log.

CREATE SCHEMA IF NOT EXISTS yizheng_audit;

CREATE TABLE IF NOT EXISTS yizheng_audit.entries (
	origin      text        NOT NULL, -- which log: host/path/quarter
	idx         bigint      NOT NULL, -- which entry of it
	ts          timestamptz NOT NULL,
	leaf        bytea       NOT NULL, -- SM3, 32 bytes
	op          text        NOT NULL,
	phase       text,
	outcome     text,
	dept        text, -- asking department
	item        text, -- matter
	case_no     text,
	proof       text,
	provider    text, -- answering department
	source      text,
	exchange    text,
	number      text, -- of the document
	actor       text, -- staff account; null where closed halves are not shipped
	open        text NOT NULL,
	closed      text,
	salt        bytea,
	PRIMARY KEY (origin, idx, ts) -- a partitioned table's key must have the time in it
) PARTITION BY RANGE (ts);

CREATE INDEX IF NOT EXISTS entries_ts       ON yizheng_audit.entries USING brin (ts);
CREATE INDEX IF NOT EXISTS entries_case     ON yizheng_audit.entries (case_no, ts)  WHERE case_no IS NOT NULL;
CREATE INDEX IF NOT EXISTS entries_exchange ON yizheng_audit.entries (exchange, ts) WHERE exchange IS NOT NULL;
CREATE INDEX IF NOT EXISTS entries_number   ON yizheng_audit.entries (number)       WHERE number IS NOT NULL;
CREATE INDEX IF NOT EXISTS entries_actor    ON yizheng_audit.entries (actor, ts)    WHERE actor IS NOT NULL;

-- Residents, by the pseudonym of the quarter.
CREATE TABLE IF NOT EXISTS yizheng_audit.subjects (
	subject text        NOT NULL, -- type/epoch/pseudonym
	ts      timestamptz NOT NULL,
	origin  text        NOT NULL,
	idx     bigint      NOT NULL,
	PRIMARY KEY (subject, ts, origin, idx)
) PARTITION BY RANGE (ts);

-- month makes the partitions of one month (China time), if they are not there. It runs with
-- its owner's rights, so that the role that ships needs no right to create.
CREATE OR REPLACE FUNCTION yizheng_audit.month(day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	first date := date_trunc('month', day);
	name  text := to_char(first, 'YYYYMM');
	lo    text := first::text || ' 00:00:00+08';
	hi    text := (first + interval '1 month')::date::text || ' 00:00:00+08';
	t     text;
BEGIN
	FOREACH t IN ARRAY ARRAY['entries', 'subjects'] LOOP
		EXECUTE format('CREATE TABLE IF NOT EXISTS yizheng_audit.%I PARTITION OF yizheng_audit.%I FOR VALUES FROM (%L) TO (%L)',
			t || '_' || name, t, lo, hi);
	END LOOP;
END $$;
REVOKE ALL ON FUNCTION yizheng_audit.month(date) FROM PUBLIC;
