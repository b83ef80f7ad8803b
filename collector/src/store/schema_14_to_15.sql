-- The version that a sidecar said of itself; empty from one that says none.
ALTER TABLE senders ADD COLUMN version TEXT NOT NULL DEFAULT '';
