-- When a boot of a sidecar was heard first; 0 of one that was known before this was kept.
ALTER TABLE senders ADD COLUMN first_heard_at INTEGER NOT NULL DEFAULT 0;
