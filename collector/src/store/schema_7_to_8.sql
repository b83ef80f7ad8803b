-- Who is on an alert, what it is muted by, how it stands, and silences.
ALTER TABLE episodes ADD COLUMN muted_by TEXT;
ALTER TABLE episodes ADD COLUMN acknowledged_at INTEGER;
ALTER TABLE episodes ADD COLUMN acknowledged_by TEXT;
ALTER TABLE episodes ADD COLUMN acknowledged_note TEXT;
ALTER TABLE episodes ADD COLUMN standing TEXT NOT NULL DEFAULT 'firing';
ALTER TABLE episodes ADD COLUMN is_flapping INTEGER NOT NULL DEFAULT 0;

CREATE TABLE silences (
    id TEXT PRIMARY KEY,
    matching TEXT NOT NULL,
    starts_at INTEGER NOT NULL,
    ends_at INTEGER NOT NULL,
    comment TEXT NOT NULL,
    author TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX silences_by_end ON silences (ends_at);
