"""The tables of ``registry.db``, as the rungs that made them (`content.migrations`).

A rung that was released never changes: what changes is a further one, and
tests/unit/registry_server/test_schema.py gets the older version's tables as they were.
"""

from __future__ import annotations

_CATALOG = """
CREATE TABLE repositories (
    id           INTEGER PRIMARY KEY,
    name         TEXT NOT NULL UNIQUE,
    created      REAL NOT NULL,
    updated      REAL NOT NULL,
    pulls        INTEGER NOT NULL DEFAULT 0,
    last_pulled  REAL NOT NULL DEFAULT 0
);
CREATE TABLE contents (          -- exact bytes of manifests, shared by repositories
    digest   TEXT PRIMARY KEY,
    content  BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE manifests (
    repository     INTEGER NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    digest         TEXT NOT NULL,
    media_type     TEXT NOT NULL,
    size           INTEGER NOT NULL,
    subject        TEXT,
    artifact_type  TEXT NOT NULL,
    annotations    TEXT NOT NULL,
    pushed         REAL NOT NULL,
    last_pulled    REAL NOT NULL DEFAULT 0,
    PRIMARY KEY (repository, digest)
) WITHOUT ROWID;
CREATE INDEX manifests_by_subject ON manifests (repository, subject) WHERE subject IS NOT NULL;
CREATE INDEX manifests_by_digest ON manifests (digest);
CREATE TABLE links (             -- what a manifest points at: blobs and other manifests
    repository  INTEGER NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    manifest    TEXT NOT NULL,
    target      TEXT NOT NULL,
    PRIMARY KEY (repository, manifest, target)
) WITHOUT ROWID;
CREATE INDEX links_by_target ON links (repository, target);
CREATE TABLE tags (
    repository  INTEGER NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    name        TEXT NOT NULL,
    digest      TEXT NOT NULL,
    updated     REAL NOT NULL,
    PRIMARY KEY (repository, name)
) WITHOUT ROWID;
CREATE INDEX tags_by_digest ON tags (repository, digest);
CREATE TABLE blobs (             -- which repository holds which blob; the bytes are shared
    digest      TEXT NOT NULL,
    repository  INTEGER NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    size        INTEGER NOT NULL,
    added       REAL NOT NULL,
    PRIMARY KEY (digest, repository)
) WITHOUT ROWID;
CREATE INDEX blobs_by_repository ON blobs (repository);
CREATE TABLE uploads (
    id          TEXT PRIMARY KEY,
    repository  TEXT NOT NULL,   -- by name: an upload alone makes no repository
    algorithm   TEXT NOT NULL,
    size        INTEGER NOT NULL,
    digest      TEXT NOT NULL,   -- hex of the first `size` bytes when known, so that no worker reads them again
    started     REAL NOT NULL,
    updated     REAL NOT NULL
) WITHOUT ROWID;
"""

# A registry of version 1 may have them already: they came as it was opened, not with a version.
_ROOMS = """
-- tokens
CREATE TABLE IF NOT EXISTS tokens (
    id         TEXT PRIMARY KEY,
    hash       TEXT NOT NULL UNIQUE,
    user       TEXT NOT NULL,
    name       TEXT NOT NULL,
    kind       TEXT NOT NULL,       -- access: made by a user; refresh: made by a login
    scopes     TEXT NOT NULL,       -- JSON list of ``glob:action,action``; [] = all that the user may
    created    REAL NOT NULL,
    expires    REAL NOT NULL,       -- 0 = never
    last_used  REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tokens_by_user ON tokens (user);
-- search
CREATE TABLE IF NOT EXISTS search (
    id           INTEGER PRIMARY KEY REFERENCES repositories (id) ON DELETE CASCADE,
    name         TEXT NOT NULL,
    title        TEXT NOT NULL,
    description  TEXT NOT NULL,
    labels       TEXT NOT NULL,
    platforms    TEXT NOT NULL,              -- ' linux/amd64 linux/arm64 '
    official     INTEGER NOT NULL,
    automated    INTEGER NOT NULL DEFAULT 0,
    stars        INTEGER NOT NULL DEFAULT 0,
    pulls        INTEGER NOT NULL DEFAULT 0,
    updated      REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS search_by_popularity ON search (official DESC, stars DESC, pulls DESC, name);
CREATE INDEX IF NOT EXISTS search_by_stars ON search (stars DESC, pulls DESC, name);
CREATE INDEX IF NOT EXISTS search_by_pulls ON search (pulls DESC, name);
CREATE INDEX IF NOT EXISTS search_by_updated ON search (updated DESC, name);
CREATE INDEX IF NOT EXISTS search_official ON search (name) WHERE official = 1;
CREATE INDEX IF NOT EXISTS search_by_name ON search (name);
CREATE VIRTUAL TABLE IF NOT EXISTS search_text USING fts5(name, title, description, labels, platforms,
    content = 'search', content_rowid = 'id', tokenize = 'trigram');
CREATE TRIGGER IF NOT EXISTS search_added AFTER INSERT ON search BEGIN
    INSERT INTO search_text (rowid, name, title, description, labels, platforms)
        VALUES (new.id, new.name, new.title, new.description, new.labels, new.platforms);
END;
CREATE TRIGGER IF NOT EXISTS search_removed AFTER DELETE ON search BEGIN
    INSERT INTO search_text (search_text, rowid, name, title, description, labels, platforms)
        VALUES ('delete', old.id, old.name, old.title, old.description, old.labels, old.platforms);
END;
CREATE TRIGGER IF NOT EXISTS search_changed
    AFTER UPDATE OF title, description, labels, platforms ON search BEGIN
    INSERT INTO search_text (search_text, rowid, name, title, description, labels, platforms)
        VALUES ('delete', old.id, old.name, old.title, old.description, old.labels, old.platforms);
    INSERT INTO search_text (rowid, name, title, description, labels, platforms)
        VALUES (new.id, new.name, new.title, new.description, new.labels, new.platforms);
END;
CREATE TABLE IF NOT EXISTS search_todo (     -- changed since it was described; `change` tells one change from the next
    repository  INTEGER PRIMARY KEY,
    change      INTEGER NOT NULL
);
CREATE TRIGGER IF NOT EXISTS search_todo_new AFTER INSERT ON repositories BEGIN
    INSERT INTO search_todo VALUES (new.id, random()) ON CONFLICT DO UPDATE SET change = excluded.change;
END;
CREATE TRIGGER IF NOT EXISTS search_todo_updated AFTER UPDATE OF updated ON repositories BEGIN
    INSERT INTO search_todo VALUES (new.id, random()) ON CONFLICT DO UPDATE SET change = excluded.change;
END;
CREATE TRIGGER IF NOT EXISTS search_todo_untagged AFTER DELETE ON tags BEGIN
    INSERT INTO search_todo VALUES (old.repository, random())
        ON CONFLICT DO UPDATE SET change = excluded.change;
END;
CREATE TRIGGER IF NOT EXISTS search_pulled AFTER UPDATE OF pulls ON repositories BEGIN
    UPDATE search SET pulls = new.pulls WHERE id = new.id;
END;
CREATE TABLE IF NOT EXISTS stars (
    repository  INTEGER NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    user        TEXT NOT NULL,
    added       REAL NOT NULL,
    PRIMARY KEY (repository, user)
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS stars_added AFTER INSERT ON stars BEGIN
    UPDATE search SET stars = stars + 1 WHERE id = new.repository;
END;
CREATE TRIGGER IF NOT EXISTS stars_removed AFTER DELETE ON stars BEGIN
    UPDATE search SET stars = stars - 1 WHERE id = old.repository;
END;
CREATE TABLE IF NOT EXISTS own_descriptions (  -- written by the owners, before what images say
    repository   INTEGER PRIMARY KEY REFERENCES repositories (id) ON DELETE CASCADE,
    description  TEXT NOT NULL
);
CREATE TRIGGER IF NOT EXISTS own_description_added AFTER INSERT ON own_descriptions BEGIN
    INSERT INTO search_todo VALUES (new.repository, random())
        ON CONFLICT DO UPDATE SET change = excluded.change;
END;
CREATE TRIGGER IF NOT EXISTS own_description_removed AFTER DELETE ON own_descriptions BEGIN
    INSERT INTO search_todo VALUES (old.repository, random())
        ON CONFLICT DO UPDATE SET change = excluded.change;
END;
INSERT INTO search_todo SELECT id, random() FROM repositories WHERE id NOT IN (SELECT id FROM search)
    AND id NOT IN (SELECT repository FROM search_todo);
-- builds
CREATE TABLE IF NOT EXISTS build_links (
    repository  TEXT PRIMARY KEY,
    url         TEXT NOT NULL,
    dockerfile  TEXT NOT NULL,
    tag         TEXT NOT NULL,
    secret      TEXT NOT NULL,
    user        TEXT NOT NULL     -- on whose behalf it is pushed
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS builds (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    repository  TEXT NOT NULL,
    reason      TEXT NOT NULL,
    state       TEXT NOT NULL,    -- waiting, running, done, failed
    asked       REAL NOT NULL,
    started     REAL NOT NULL DEFAULT 0,
    ended       REAL NOT NULL DEFAULT 0,
    log         TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS builds_by_repository ON builds (repository, id);
CREATE INDEX IF NOT EXISTS builds_by_state ON builds (state, id);
CREATE TRIGGER IF NOT EXISTS build_links_added AFTER INSERT ON build_links BEGIN
    UPDATE search SET automated = 1 WHERE name = new.repository;
END;
CREATE TRIGGER IF NOT EXISTS build_links_removed AFTER DELETE ON build_links BEGIN
    UPDATE search SET automated = 0 WHERE name = old.repository;
END;
CREATE TRIGGER IF NOT EXISTS build_links_found
    AFTER INSERT ON search WHEN EXISTS (SELECT 1 FROM build_links WHERE repository = new.name) BEGIN
    UPDATE search SET automated = 1 WHERE id = new.id;
END;
-- webhooks
CREATE TABLE IF NOT EXISTS events (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    hook   TEXT NOT NULL,
    body   TEXT NOT NULL,     -- as it is sent
    made   REAL NOT NULL,
    tries  INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS events_by_hook ON events (hook, id);
"""

_LOGINS_AND_UNTAGGED = """
-- Mark of the account that made it; '' = good for any password of the account.
ALTER TABLE tokens ADD COLUMN account TEXT NOT NULL DEFAULT '';
ALTER TABLE manifests ADD COLUMN untagged REAL NOT NULL DEFAULT 0;  -- when it last lost a tag
UPDATE manifests SET untagged = (julianday('now') - 2440587.5) * 86400.0
    WHERE NOT EXISTS (SELECT 1 FROM tags t WHERE t.repository = manifests.repository
    AND t.digest = manifests.digest);
CREATE TRIGGER tag_removed AFTER DELETE ON tags BEGIN
    UPDATE manifests SET untagged = (julianday('now') - 2440587.5) * 86400.0
        WHERE repository = old.repository AND digest = old.digest;
END;
CREATE TRIGGER tag_moved AFTER UPDATE OF digest ON tags WHEN old.digest <> new.digest BEGIN
    UPDATE manifests SET untagged = (julianday('now') - 2440587.5) * 86400.0
        WHERE repository = old.repository AND digest = old.digest;
END;
"""

RUNGS = (_CATALOG, _ROOMS, _LOGINS_AND_UNTAGGED)
