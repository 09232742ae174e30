"""The tables of ``boxwright.db``, as the rungs that made them (`content.migrations`).

A rung that was released never changes: what changes is a further one, `db.VERSION` counts them, and
tests/unit/content/test_migrations.py gets the older version's tables as they were.
"""

from __future__ import annotations

_FIRST = """
-- An image: a manifest or index that was named, built, loaded or pulled. A root of the collector.
CREATE TABLE images (
    target      TEXT PRIMARY KEY,   -- digest of the manifest or index
    media_type  TEXT NOT NULL,
    size        INTEGER NOT NULL,   -- bytes of the manifest or index itself
    image_id    TEXT NOT NULL,      -- config digest of the platform shown by default
    manifest    TEXT NOT NULL,      -- manifest digest of that platform
    platform    TEXT NOT NULL,
    created     TEXT NOT NULL,      -- RFC 3339, from the config; '' when it says nothing
    bytes       INTEGER NOT NULL,   -- content of its layers, as Docker's SIZE counts it
    labels      TEXT NOT NULL,      -- JSON object
    parent      TEXT NOT NULL DEFAULT '',  -- image_id that it was built or committed from, '' when unknown
    added       REAL NOT NULL,      -- unix seconds
    last_used   REAL NOT NULL
);
CREATE INDEX images_by_id ON images (image_id);
-- Names: normalised references (with tag, or with digest for RepoDigests) -> images.
CREATE TABLE names (
    name     TEXT PRIMARY KEY,
    target   TEXT NOT NULL REFERENCES images (target),
    updated  REAL NOT NULL
);
CREATE INDEX names_by_target ON names (target);
-- Layers on disk under layers/<algorithm>-<hex of the diff ID>/.
CREATE TABLE layers (
    diff_id     TEXT PRIMARY KEY,
    kind        TEXT NOT NULL,      -- 'tar' or 'tree'
    tar_size    INTEGER NOT NULL,   -- bytes of the canonical tar stream
    bytes       INTEGER NOT NULL,   -- content of regular files
    entries     INTEGER NOT NULL,
    added       REAL NOT NULL,
    last_used   REAL NOT NULL
);
-- Compressed forms of layers that are known: diff ID <-> blob.
CREATE TABLE layer_blobs (
    diff_id     TEXT NOT NULL,
    digest      TEXT NOT NULL,      -- of the compressed blob
    media_type  TEXT NOT NULL,
    size        INTEGER NOT NULL,
    compressor  TEXT NOT NULL,      -- 'gzip:isal-1', 'zstd:3', '' when it came from elsewhere
    origin      TEXT NOT NULL DEFAULT '',  -- repository it can be fetched from again
    PRIMARY KEY (diff_id, digest)
);
CREATE INDEX layer_blobs_by_digest ON layer_blobs (digest);
-- Step records of builds (image.steps).
CREATE TABLE steps (
    key         TEXT PRIMARY KEY,   -- digest of the step's cache key
    lineage     TEXT NOT NULL,      -- what a later build compares itself with when it asks why (target, position)
    kind        TEXT NOT NULL,
    name        TEXT NOT NULL,
    ingredients TEXT NOT NULL,      -- JSON: each part of the key on its own
    layers      TEXT NOT NULL,      -- diff IDs of the resulting tree, bottom first, separated by blanks
    result      TEXT NOT NULL,      -- JSON: whatever else the step yielded
    bytes       INTEGER NOT NULL,
    seconds     REAL NOT NULL,
    created     REAL NOT NULL,
    last_used   REAL NOT NULL,
    uses        INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX steps_by_lineage ON steps (lineage, created);
-- Leases: what is in flight. A lease dies with its owner (a process) or at its expiry.
CREATE TABLE leases (
    id       TEXT PRIMARY KEY,
    owner    TEXT NOT NULL,         -- boot id, pid and start time of the owning process
    purpose  TEXT NOT NULL,
    expires  REAL NOT NULL          -- unix seconds; 0 = lives as long as the owner
);
CREATE TABLE lease_refs (
    lease  TEXT NOT NULL REFERENCES leases (id) ON DELETE CASCADE,
    kind   TEXT NOT NULL,           -- 'blob', 'layer', 'workspace', 'image', 'linked'
    ref    TEXT NOT NULL,           -- digest, diff ID, or a directory name under work/
    PRIMARY KEY (lease, kind, ref)
);
CREATE TABLE containers (
    id       TEXT PRIMARY KEY,      -- 64 hex digits
    name     TEXT NOT NULL UNIQUE,
    image    TEXT NOT NULL,         -- target digest; a root of the collector
    layers   TEXT NOT NULL,         -- diff IDs, bottom first, separated by blanks; roots too
    created  REAL NOT NULL,
    record   TEXT NOT NULL          -- JSON: everything that does not change after creation
);
CREATE TABLE volumes (
    name       TEXT PRIMARY KEY,
    created    REAL NOT NULL,
    anonymous  INTEGER NOT NULL,
    record     TEXT NOT NULL
);
CREATE TABLE networks (
    name     TEXT PRIMARY KEY,
    id       TEXT NOT NULL UNIQUE,
    record   TEXT NOT NULL
);
CREATE TABLE addresses (
    network    TEXT NOT NULL,
    address    TEXT NOT NULL,
    container  TEXT NOT NULL,
    PRIMARY KEY (network, address)
);
"""

_ATTACHED = """
-- What refers to content here (signatures, bills of materials): it lives as long as its subject.
CREATE TABLE attached (
    subject     TEXT NOT NULL,      -- digest of a manifest or index
    name        TEXT NOT NULL,      -- the tag by which it is attached ('sha256-<hex>.sig'), '' when the manifest itself says its subject
    target      TEXT NOT NULL,      -- digest of the manifest that refers
    media_type  TEXT NOT NULL,
    size        INTEGER NOT NULL,
    PRIMARY KEY (subject, name, target)
);
"""

_BUILDS = """
-- The history of builds (image.builds); each has a log under builds/.
CREATE TABLE builds (
    id         TEXT PRIMARY KEY,    -- 25 letters and digits, as buildx has them
    owner      TEXT NOT NULL,       -- boot id, pid and start time of the process that builds
    started    REAL NOT NULL,       -- unix seconds
    ended      REAL NOT NULL,       -- 0 while it runs
    status     TEXT NOT NULL,       -- running, completed, error, canceled
    name       TEXT NOT NULL,
    total      INTEGER NOT NULL,    -- steps
    completed  INTEGER NOT NULL,
    cached     INTEGER NOT NULL,
    record     TEXT NOT NULL        -- JSON: what was asked for, what came out
);
CREATE INDEX builds_by_start ON builds (started);
"""

RUNGS = (_FIRST, _ATTACHED, _BUILDS)
