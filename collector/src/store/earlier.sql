-- Windows beside earlier ones of their version.

-- A column beside earlier windows (JSON), where the model is compared with them.
CREATE TABLE comparisons (
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    ends INTEGER NOT NULL,
    column_name TEXT NOT NULL,
    -- Which: recent or same_hour.
    against TEXT NOT NULL,
    comparison TEXT NOT NULL,
    PRIMARY KEY (model, version, ends, column_name, against)
) STRICT, WITHOUT ROWID;

-- Windows that later ones are compared with, for as long as one may be.
CREATE TABLE earlier_windows (
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    ends INTEGER NOT NULL,
    -- Identity of the reference whose cells the profiles count on, in whose order they are.
    reference TEXT NOT NULL,
    -- The profiles of all columns, and what each was beside the windows before it (postcard).
    contents BLOB NOT NULL,
    PRIMARY KEY (model, version, ends)
) STRICT, WITHOUT ROWID;
