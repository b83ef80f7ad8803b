-- Version 6: windows beside earlier ones. See schema.sql.
CREATE TABLE comparisons (
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    ends INTEGER NOT NULL,
    column_name TEXT NOT NULL,
    against TEXT NOT NULL,
    comparison TEXT NOT NULL,
    PRIMARY KEY (model, version, ends, column_name, against)
) STRICT, WITHOUT ROWID;
CREATE TABLE earlier_windows (
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    ends INTEGER NOT NULL,
    reference TEXT NOT NULL,
    contents BLOB NOT NULL,
    PRIMARY KEY (model, version, ends)
) STRICT, WITHOUT ROWID;
