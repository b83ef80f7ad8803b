-- Whether a notification was sent, and nobody knows whether it arrived.
ALTER TABLE outbox ADD COLUMN in_doubt INTEGER NOT NULL DEFAULT 0;
UPDATE outbox SET in_doubt = 1 WHERE state IN ('pending', 'given_up') AND attempts > 0;
