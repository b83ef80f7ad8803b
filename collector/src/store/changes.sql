-- What was changed around a model, or around all of them: what an alert's evidence names.
CREATE TABLE changes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    -- Empty when it is every model's.
    model TEXT NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE INDEX changes_by_model ON changes (model, at);
CREATE INDEX changes_by_time ON changes (at);
