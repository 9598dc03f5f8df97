-- SQLite: a log of OCEL while it is read or written.
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE types (
    kind TEXT NOT NULL,
    type TEXT NOT NULL,
    PRIMARY KEY (kind, type)
) WITHOUT ROWID;
CREATE TABLE value_types (
    kind TEXT NOT NULL,
    type TEXT NOT NULL,
    name TEXT NOT NULL,
    value_type TEXT NOT NULL,
    PRIMARY KEY (kind, type, name)
) WITHOUT ROWID;
CREATE TABLE events (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    time TEXT NOT NULL,
    attributes TEXT NOT NULL
);
CREATE INDEX events_id ON events (id, number);
CREATE TABLE event_objects (
    event INTEGER NOT NULL,
    object TEXT NOT NULL,
    qualifier TEXT NOT NULL,
    PRIMARY KEY (event, object, qualifier)
) WITHOUT ROWID;
CREATE TABLE objects (
    id TEXT PRIMARY KEY,
    type TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE object_values (
    object TEXT NOT NULL,
    name TEXT NOT NULL,
    time TEXT NOT NULL,
    value TEXT NOT NULL
);
CREATE INDEX object_values_of ON object_values (object, name, time);
CREATE TABLE object_objects (
    source TEXT NOT NULL,
    target TEXT NOT NULL,
    qualifier TEXT NOT NULL,
    PRIMARY KEY (source, target, qualifier)
) WITHOUT ROWID;
CREATE INDEX object_objects_target ON object_objects (target);
