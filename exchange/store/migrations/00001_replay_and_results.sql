-- One schema for SQLite and PostgreSQL. BYTEA is PostgreSQL's name; SQLite has
-- no such type, gives the column numeric affinity and keeps blobs as they are.
-- Times are milliseconds since the Unix epoch. Every *_digest is HMAC-SM3 in hex.

-- +goose Up
CREATE TABLE nonce (
    nonce_digest TEXT   NOT NULL PRIMARY KEY,
    expires      BIGINT NOT NULL
);
CREATE INDEX nonce_expires ON nonce (expires);

CREATE TABLE agent_sequence (
    workstation TEXT   NOT NULL PRIMARY KEY,
    seq         BIGINT NOT NULL
);

CREATE TABLE admission (
    key_digest     TEXT   NOT NULL PRIMARY KEY,
    request_digest TEXT   NOT NULL,
    caller         TEXT   NOT NULL,
    exchange_no    TEXT   NOT NULL UNIQUE,
    expires        BIGINT NOT NULL
);
CREATE INDEX admission_expires ON admission (expires);

CREATE TABLE spent_token (
    token_digest TEXT   NOT NULL PRIMARY KEY,
    exchange_no  TEXT   NOT NULL,
    expires      BIGINT NOT NULL
);
CREATE INDEX spent_token_expires ON spent_token (expires);

CREATE TABLE result (
    exchange_no TEXT   NOT NULL,
    part        TEXT   NOT NULL,
    sealed      BYTEA  NOT NULL,
    expires     BIGINT NOT NULL,
    PRIMARY KEY (exchange_no, part)
);
CREATE INDEX result_expires ON result (expires);

-- +goose Down
DROP TABLE result;
DROP TABLE spent_token;
DROP TABLE admission;
DROP TABLE agent_sequence;
DROP TABLE nonce;
