-- Every statement of the SQLite store. A name, a line on what it is for, the statement.
-- {after} and {order} are '<' and 'DESC', or '>' and 'ASC': see queries.py.

-- :name node_find
SELECT num, user, depth FROM nodes WHERE hash = :hash

-- :name node_add
INSERT INTO nodes (hash, parent, depth, user, digest, doc) VALUES (?, ?, ?, ?, ?, ?)

-- :name node_text_add
-- What search looks through; apart from the nodes so that walking a path does not read it.
INSERT INTO node_texts (num, user, folded) VALUES (?, ?, ?)

-- :name nodes_sweep
-- The node and, upwards, all that only this chain needed.
WITH RECURSIVE doomed (num, parent) AS (
  SELECT num, parent FROM nodes WHERE num = ?
    AND NOT EXISTS (SELECT 1 FROM nodes AS kid WHERE kid.parent = nodes.num)
    AND NOT EXISTS (SELECT 1 FROM chats WHERE head = nodes.num)
    AND NOT EXISTS (SELECT 1 FROM branches WHERE leaf = nodes.num)
    AND NOT EXISTS (SELECT 1 FROM answers WHERE input = nodes.num)
    AND NOT EXISTS (SELECT 1 FROM answers WHERE output = nodes.num)
  UNION ALL
  SELECT nodes.num, nodes.parent FROM doomed JOIN nodes ON nodes.num = doomed.parent
    WHERE NOT EXISTS (SELECT 1 FROM nodes AS kid WHERE kid.parent = nodes.num AND kid.num <> doomed.num)
    AND NOT EXISTS (SELECT 1 FROM chats WHERE head = nodes.num)
    AND NOT EXISTS (SELECT 1 FROM branches WHERE leaf = nodes.num)
    AND NOT EXISTS (SELECT 1 FROM answers WHERE input = nodes.num)
    AND NOT EXISTS (SELECT 1 FROM answers WHERE output = nodes.num)
)
DELETE FROM nodes WHERE num IN (SELECT num FROM doomed)

-- :name path
-- One row for the whole path: a step per row would hand the interpreter lock to and fro for each. :rows, from the
-- head upwards; -1 for all.
WITH RECURSIVE up (num, parent, hash, depth, doc) AS (
  SELECT num, parent, hash, depth, doc FROM nodes WHERE hash = :head AND user = :user
  UNION ALL
  SELECT nodes.num, nodes.parent, nodes.hash, nodes.depth, nodes.doc FROM up JOIN nodes ON nodes.num = up.parent
  LIMIT :rows
)
SELECT '[' || group_concat('["' || hash || '",' || depth || ',' || doc || ']') || ']' FROM up

-- :name match
-- :digests is one 16-byte digest after the other. Of several paths as long, the one that was there first.
WITH RECURSIVE walk (num, hash, steps) AS (
  SELECT num, hash, 1 FROM nodes WHERE parent IS NULL AND digest = substr(:digests, 1, 16) AND user = :user
  UNION ALL
  SELECT nodes.num, nodes.hash, steps + 1 FROM walk
    JOIN nodes ON nodes.parent = walk.num AND nodes.digest = substr(:digests, steps * 16 + 1, 16)
      AND nodes.user = :user
)
SELECT hash FROM walk ORDER BY steps DESC, num LIMIT 1

-- :name chat_find
SELECT chats.user, nodes.hash AS head, chats.head AS head_num, chats.doc
FROM chats LEFT JOIN nodes ON nodes.num = chats.head WHERE chats.id = ?

-- :name chat_add
INSERT INTO chats (updated_at, title, pinned, doc, id, user, created_at, head) VALUES (?, ?, ?, ?, ?, ?, ?, ?)

-- :name chat_change
UPDATE chats SET updated_at = COALESCE(?, updated_at), title = ?, pinned = ?, doc = ? WHERE id = ?

-- :name chat_move
UPDATE chats SET head = :after, updated_at = :at WHERE id = :id AND head IS :before

-- :name chat_owner
SELECT user, head FROM chats WHERE id = ?

-- :name chat_delete
DELETE FROM chats WHERE id = ?

-- :name branch_keep
INSERT OR IGNORE INTO branches (chat, leaf) VALUES (?, ?)

-- :name branches_of
SELECT leaf FROM branches WHERE chat = ?

-- :name branches
SELECT nodes.hash FROM branches JOIN nodes ON nodes.num = branches.leaf JOIN chats ON chats.id = branches.chat
WHERE branches.chat = :id AND chats.user = :user ORDER BY branches.rowid

-- :name chat_tree
-- Upwards from the head and from every leaf; each node once.
WITH RECURSIVE up (num) AS (
  SELECT head FROM chats WHERE id = :chat AND head IS NOT NULL
  UNION SELECT leaf FROM branches WHERE chat = :chat
  UNION SELECT nodes.parent FROM up JOIN nodes ON nodes.num = up.num WHERE nodes.parent IS NOT NULL
)
SELECT nodes.hash, above.hash, json_extract(nodes.doc, '$[0]'), nodes.num
FROM up JOIN nodes ON nodes.num = up.num LEFT JOIN nodes AS above ON above.num = nodes.parent

-- :name origin_save
INSERT INTO origins (chat, user, source, name, leaf, original) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (chat) DO UPDATE SET source = excluded.source, name = excluded.name, leaf = excluded.leaf,
  original = excluded.original

-- :name origin_owner
SELECT chat FROM origins WHERE user = ? AND source = ?

-- :name origin
SELECT chat, user, source, name, leaf, original FROM origins WHERE chat = :id AND user = :user

-- :name brought
SELECT chat, user, source, name, leaf, original FROM origins WHERE user = :user AND source = :source

-- :name chat
SELECT chats.id, chats.user, chats.created_at, chats.updated_at, nodes.hash, chats.doc
FROM chats LEFT JOIN nodes ON nodes.num = chats.head WHERE chats.id = :id AND chats.user = :user

-- :name chat_cursor
SELECT updated_at, id, pinned FROM chats WHERE id = :id AND user = :user

-- :name chats_page
SELECT chats.id, chats.user, chats.created_at, chats.updated_at, nodes.hash, chats.doc
FROM chats LEFT JOIN nodes ON nodes.num = chats.head
WHERE chats.user = :user AND ({rank}chats.updated_at, chats.id) {after} ({place}:time, :id)
ORDER BY {ranked}chats.updated_at {order}, chats.id {order} LIMIT :rows

-- :name hits_by_index
SELECT node_texts.num FROM node_search JOIN node_texts ON node_texts.num = node_search.rowid
WHERE node_search MATCH :grams AND node_texts.user = :user AND NOT EXISTS (
  SELECT 1 FROM json_each(:words) AS word WHERE NOT instr(node_texts.folded, word.value))

-- :name hits_by_reading
-- Words of one or two characters are not in the index.
SELECT num FROM node_texts WHERE user = :user AND NOT EXISTS (
  SELECT 1 FROM json_each(:words) AS word WHERE NOT instr(folded, word.value))

-- :name chats_search
-- From every node that holds the words downwards: a chat is found if its head is reached.
WITH RECURSIVE hit (num) AS (
  SELECT num FROM ({hits})
  UNION
  SELECT nodes.num FROM hit JOIN nodes ON nodes.parent = hit.num
)
SELECT chats.id, chats.user, chats.created_at, chats.updated_at, nodes.hash, chats.doc
FROM chats LEFT JOIN nodes ON nodes.num = chats.head
WHERE chats.user = :user AND ({rank}chats.updated_at, chats.id) {after} ({place}:time, :id)
  AND (chats.head IN (SELECT num FROM hit) OR NOT EXISTS (
    SELECT 1 FROM json_each(:words) AS word WHERE NOT instr(chats.title, word.value)))
ORDER BY {ranked}chats.updated_at {order}, chats.id {order} LIMIT :rows

-- :name passage
-- From the head upwards, to the first that has the words.
WITH RECURSIVE up (num, parent) AS (
  SELECT num, parent FROM nodes WHERE hash = :head AND user = :user
  UNION ALL
  SELECT nodes.num, nodes.parent FROM up JOIN nodes ON nodes.num = up.parent
)
SELECT nodes.hash, nodes.depth, nodes.doc
FROM up JOIN node_texts ON node_texts.num = up.num JOIN nodes ON nodes.num = up.num
WHERE NOT EXISTS (SELECT 1 FROM json_each(:words) AS word WHERE NOT instr(node_texts.folded, word.value)) LIMIT 1

-- :name answer_last
SELECT id, json_extract(doc, '$.status'), json_extract(doc, '$.usage') FROM answers WHERE num = coalesce(
  (SELECT max(num) FROM answers WHERE user = :user AND output = (SELECT num FROM nodes WHERE hash = :head)),
  (SELECT max(num) FROM answers WHERE user = :user AND chat = :chat))

-- :name style_save
INSERT OR REPLACE INTO styles (user, name, doc) VALUES (?, ?, ?)

-- :name style_delete
DELETE FROM styles WHERE user = ? AND name = ?

-- :name styles
SELECT name, doc FROM styles WHERE user = ? ORDER BY name

-- :name answer_find
SELECT num, user, live, input, output FROM answers WHERE id = ?

-- :name answer_add
INSERT INTO answers (kind, model, created_at, live, input, output, chat, doc, user, id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- :name answer_change
UPDATE answers SET kind = ?, model = ?, created_at = ?, live = ?, input = ?, output = ?, chat = ?, doc = ?
WHERE num = ?

-- :name answer_delete
DELETE FROM answers WHERE num = ?

-- :name answer
SELECT doc FROM answers WHERE id = :id AND user = :user

-- :name answer_cursor
SELECT created_at, id, 0 FROM answers WHERE id = :id AND user = :user

-- :name answers_page
-- :metadata is a JSON list of [key, value]; each of them must be there.
SELECT doc FROM answers
WHERE user = :user AND kind = :kind AND (created_at, id) {after} (:time, :id)
  AND (:model IS NULL OR model = :model)
  AND NOT EXISTS (
    SELECT 1 FROM json_each(:metadata) AS wanted WHERE NOT EXISTS (
      SELECT 1 FROM json_each(answers.doc, '$.metadata') AS had
      WHERE had.key = json_extract(wanted.value, '$[0]') AND had.value = json_extract(wanted.value, '$[1]')
    )
  )
ORDER BY created_at {order}, id {order} LIMIT :rows

-- :name answers_live
-- In the order in which they were accepted, whatever the clock said.
SELECT doc FROM answers WHERE live ORDER BY num

-- :name answers_live_numbers
SELECT num, id FROM answers WHERE live

-- :name journal_add
INSERT INTO journal (seq, answer, batch) VALUES (?, ?, ?)

-- :name journal_all
SELECT seq, batch FROM journal ORDER BY seq

-- :name journal_of
-- Rows of one answer alone, and rows of many.
SELECT batch FROM journal
WHERE answer IS NULL OR answer = (SELECT num FROM answers WHERE id = :id AND live)
ORDER BY seq

-- :name journal_number
SELECT num FROM answers WHERE id = ? AND live

-- :name journal_cut
DELETE FROM journal WHERE seq < ?

-- :name journal_clear
DELETE FROM journal

-- :name count_rows
SELECT (SELECT count(*) FROM chats), (SELECT count(*) FROM nodes), (SELECT count(*) FROM answers)

-- :name verify_nodes
SELECT nodes.num, nodes.hash, nodes.parent, nodes.depth, nodes.user, nodes.digest, nodes.doc,
  above.hash, above.user, above.depth, node_texts.user, node_texts.folded
FROM nodes LEFT JOIN nodes AS above ON above.num = nodes.parent LEFT JOIN node_texts ON node_texts.num = nodes.num
ORDER BY nodes.num

-- :name verify_search
SELECT num, 'is not in it' FROM node_texts WHERE num NOT IN (SELECT id FROM node_search_docsize)
UNION ALL SELECT id, 'is in it and not there' FROM node_search_docsize WHERE id NOT IN (SELECT num FROM node_texts)

-- :name verify_chats
SELECT chats.id, chats.user, chats.created_at, chats.updated_at, chats.head, nodes.hash, nodes.user, chats.title,
  chats.doc
FROM chats LEFT JOIN nodes ON nodes.num = chats.head ORDER BY chats.id

-- :name verify_branches
SELECT branches.chat, branches.leaf, chats.user, nodes.user
FROM branches LEFT JOIN chats ON chats.id = branches.chat LEFT JOIN nodes ON nodes.num = branches.leaf
ORDER BY branches.rowid

-- :name verify_origins
SELECT origins.chat, origins.user, chats.user FROM origins LEFT JOIN chats ON chats.id = origins.chat
ORDER BY origins.chat

-- :name verify_answers
SELECT answers.num, answers.id, answers.user, answers.live, answers.doc, i.hash, i.user, o.hash, o.user
FROM answers LEFT JOIN nodes AS i ON i.num = answers.input LEFT JOIN nodes AS o ON o.num = answers.output
ORDER BY answers.num
