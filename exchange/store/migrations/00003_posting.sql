-- A deferral is noted before its questions are sent. post_after is when another
-- gateway sends them, should the first one have died in between; 0: they are sent.

-- +goose Up
ALTER TABLE deferral ADD COLUMN post_after BIGINT NOT NULL DEFAULT 0;
CREATE INDEX deferral_post_after ON deferral (post_after) WHERE post_after > 0;

-- +goose Down
DROP INDEX deferral_post_after;
ALTER TABLE deferral DROP COLUMN post_after;
