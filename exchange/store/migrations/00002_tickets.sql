-- What lets any gateway show, finish and go on with an exchange. ticket, view
-- and context are ciphertext under the fleet's keys, which are not in this
-- database; answer is a front's envelope, sealed to the fleet.

-- +goose Up
ALTER TABLE admission ADD COLUMN ticket TEXT NOT NULL DEFAULT '';
ALTER TABLE admission ADD COLUMN runner TEXT NOT NULL DEFAULT '';
ALTER TABLE result ADD COLUMN view TEXT NOT NULL DEFAULT '';

CREATE TABLE deferral (
    exchange_no  TEXT   NOT NULL,
    part         TEXT   NOT NULL,
    context      TEXT   NOT NULL,
    legs         BIGINT NOT NULL,
    answered     BIGINT NOT NULL,
    deadline     BIGINT NOT NULL,
    leased_by    TEXT   NOT NULL,
    leased_until BIGINT NOT NULL,
    expires      BIGINT NOT NULL,
    PRIMARY KEY (exchange_no, part)
);
CREATE INDEX deferral_deadline ON deferral (deadline);

CREATE TABLE deferred_answer (
    exchange_no TEXT   NOT NULL,
    leg         TEXT   NOT NULL,
    part        TEXT   NOT NULL,
    answer      BYTEA  NOT NULL,
    expires     BIGINT NOT NULL,
    PRIMARY KEY (exchange_no, leg)
);

CREATE TABLE manual (
    number_digest TEXT   NOT NULL PRIMARY KEY,
    holder_digest TEXT   NOT NULL,
    exchange_no   TEXT   NOT NULL,
    expires       BIGINT NOT NULL
);
CREATE INDEX manual_expires ON manual (expires);

-- +goose Down
DROP TABLE manual;
DROP TABLE deferred_answer;
DROP TABLE deferral;
ALTER TABLE result DROP COLUMN view;
ALTER TABLE admission DROP COLUMN runner;
ALTER TABLE admission DROP COLUMN ticket;
