"""Every statement of ``files/index.sqlite3``.

files    one row a file, whose bytes lie beside the database under its id
batches  one row a batch; ``doc`` is the batch without what is counted, ``active`` until it has ended
rows     finished lines of active batches: ``line`` from 1, ``good`` or an error, the output line itself
"""

FORMAT = 1

TABLES = """
CREATE TABLE files (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, user TEXT NOT NULL, purpose TEXT NOT NULL,
  expires_at REAL, doc TEXT NOT NULL);
CREATE INDEX files_by_user ON files (user, seq);
CREATE INDEX files_by_end ON files (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE batches (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, user TEXT NOT NULL, active INTEGER NOT NULL,
  input TEXT NOT NULL, completed INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,
  input_tokens INTEGER NOT NULL DEFAULT 0, output_tokens INTEGER NOT NULL DEFAULT 0,
  cached_tokens INTEGER NOT NULL DEFAULT 0, doc TEXT NOT NULL);
CREATE INDEX batches_by_user ON batches (user, seq);
CREATE INDEX batches_active ON batches (active) WHERE active;
CREATE TABLE rows (
  batch INTEGER NOT NULL REFERENCES batches (seq), line INTEGER NOT NULL, good INTEGER NOT NULL, output BLOB NOT NULL,
  PRIMARY KEY (batch, line)) WITHOUT ROWID;
"""

ADD_FILE = "INSERT INTO files (id, user, purpose, expires_at, doc) VALUES (?, ?, ?, ?, ?)"
GET_FILE = "SELECT doc FROM files WHERE id = ? AND user = ?"
FILE_SEQ = "SELECT seq FROM files WHERE id = ? AND user = ?"
FILES_AFTER = "SELECT doc FROM files WHERE user = ?1 AND (?2 = '' OR purpose = ?2) AND seq > ?3 ORDER BY seq LIMIT ?4"
FILES_BEFORE = (
    "SELECT doc FROM files WHERE user = ?1 AND (?2 = '' OR purpose = ?2) AND seq < ?3 ORDER BY seq DESC LIMIT ?4"
)
COUNT_FILES = "SELECT count(*) FROM files WHERE user = ? AND purpose = ?"
DROP_FILE = "DELETE FROM files WHERE id = ?"
FILE_IDS = "SELECT id FROM files"
EXPIRED_FILES = """
SELECT id FROM files WHERE expires_at <= ? AND id NOT IN (SELECT input FROM batches WHERE active)"""
IN_USE = "SELECT id FROM batches WHERE active AND input = ? LIMIT 1"

_BATCH = "SELECT seq, doc, completed, failed, input_tokens, output_tokens, cached_tokens FROM batches"
ADD_BATCH = "INSERT INTO batches (id, user, active, input, doc) VALUES (?, ?, 1, ?, ?)"
GET_BATCH = f"{_BATCH} WHERE id = ?"
OWN_BATCH_SEQ = "SELECT seq FROM batches WHERE id = ? AND user = ?"
BATCHES_BEFORE = f"{_BATCH} WHERE user = ? AND seq < ? ORDER BY seq DESC LIMIT ?"
ACTIVE_BATCHES = f"{_BATCH} WHERE active ORDER BY seq"
COUNT_ACTIVE = "SELECT count(*) FROM batches WHERE active AND user = ?"
SAVE_BATCH = "UPDATE batches SET doc = ?, active = ? WHERE seq = ?"
COUNT_ROW = """
UPDATE batches SET completed = completed + ?, failed = failed + ?, input_tokens = input_tokens + ?,
  output_tokens = output_tokens + ?, cached_tokens = cached_tokens + ? WHERE seq = ?"""

BATCH_SEQ = "SELECT seq FROM batches WHERE id = ? AND active"
ADD_ROW = "INSERT OR IGNORE INTO rows (batch, line, good, output) VALUES (?, ?, ?, ?)"
ROW_LINES = "SELECT line FROM rows JOIN batches ON batches.seq = batch WHERE id = ? ORDER BY line"
ROWS = "SELECT line, good, output FROM rows JOIN batches ON batches.seq = batch WHERE id = ? ORDER BY line"
DROP_ROWS = "DELETE FROM rows WHERE batch = ?"
