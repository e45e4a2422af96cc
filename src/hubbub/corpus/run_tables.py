"""Every statement of a run's database, ``run.sqlite3``: what ``sqlite3`` shows whoever looks into a run by hand."""

from __future__ import annotations

FORMAT = 1
"""Of the tables and the shards. A run of another format is refused, never guessed at."""

TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE ranges (kind TEXT, lo INTEGER, hi INTEGER, PRIMARY KEY (kind, lo)) WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE epochs (epoch INTEGER PRIMARY KEY, weights BLOB NOT NULL);
CREATE TABLE samples (reason TEXT, item INTEGER, text TEXT, PRIMARY KEY (reason, item)) WITHOUT ROWID;
CREATE TABLE notes (number INTEGER PRIMARY KEY, note BLOB NOT NULL);  -- what judging must know after a restart
CREATE TABLE shards (
    number INTEGER PRIMARY KEY,
    length INTEGER NOT NULL,      -- bytes of whole frames in the file
    ending INTEGER NOT NULL,      -- bytes of a last, smaller frame, which goes when the run goes on
    raw INTEGER NOT NULL,         -- bytes of the lines, before compression
    records INTEGER NOT NULL,
    sha256 TEXT NOT NULL,         -- of the whole file; empty while it is being written
    closed INTEGER NOT NULL       -- it has all frames it will ever have
);
CREATE TABLE frames (
    shard INTEGER, number INTEGER, length INTEGER NOT NULL, records INTEGER NOT NULL,
    PRIMARY KEY (shard, number)
) WITHOUT ROWID;
CREATE TABLE tail (position INTEGER PRIMARY KEY, line BLOB NOT NULL);  -- accepted, not yet in a whole frame
"""

IS_BEGUN = "SELECT 1 FROM ranges LIMIT 1"
EMPTIED = ("meta", "counters", "epochs", "samples", "notes")
GET_META = "SELECT value FROM meta WHERE name = ?"
SET_META = "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
ALL_RANGES = "SELECT lo, hi FROM ranges WHERE kind = ? ORDER BY lo"
CLEAR_RANGES = "DELETE FROM ranges WHERE kind = ?"
ADD_RANGE = "INSERT INTO ranges VALUES (?, ?, ?)"
ALL_COUNTERS = "SELECT name, value FROM counters ORDER BY name"
COUNT = "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value"
ALL_EPOCHS = "SELECT epoch, weights FROM epochs ORDER BY epoch"
ADD_EPOCH = "INSERT INTO epochs VALUES (?, ?)"
ALL_SAMPLES = "SELECT reason, item, text FROM samples ORDER BY reason, item"
ADD_SAMPLE = "INSERT OR REPLACE INTO samples VALUES (?, ?, ?)"
TRIM_SAMPLES = """
DELETE FROM samples WHERE reason = ? AND item NOT IN (
    SELECT item FROM samples WHERE reason = ? ORDER BY item DESC LIMIT ?)
"""
ALL_NOTES = "SELECT note FROM notes ORDER BY number"
ADD_NOTE = "INSERT INTO notes (note) VALUES (?)"
ALL_SHARDS = "SELECT number, length, ending, raw, records, sha256, closed FROM shards ORDER BY number"
SAVE_SHARD = "INSERT OR REPLACE INTO shards VALUES (?, ?, ?, ?, ?, ?, ?)"
ALL_FRAMES = "SELECT length, records FROM frames WHERE shard = ? ORDER BY number"
COUNT_FRAMES = "SELECT count(*) FROM frames WHERE shard = ?"
ADD_FRAME = "INSERT INTO frames VALUES (?, ?, ?, ?)"
ALL_TAIL = "SELECT line FROM tail ORDER BY position"
CUT_TAIL = "DELETE FROM tail WHERE position < ?"
ADD_TAIL = "INSERT INTO tail VALUES (?, ?)"
