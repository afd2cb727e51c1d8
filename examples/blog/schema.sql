-- The tables of the blog. An existing database keeps what it has.
PRAGMA foreign_keys = ON;

-- One row: what tells this database from others that use the same Redis.
CREATE TABLE IF NOT EXISTS site (id TEXT NOT NULL);
INSERT INTO site SELECT lower(hex(randomblob(8))) WHERE NOT EXISTS (SELECT 1 FROM site);

CREATE TABLE IF NOT EXISTS authors (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    slug TEXT NOT NULL UNIQUE
);

CREATE TABLE IF NOT EXISTS categories (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    slug TEXT NOT NULL UNIQUE
);

CREATE TABLE IF NOT EXISTS articles (
    id           INTEGER PRIMARY KEY,
    title        TEXT NOT NULL,
    slug         TEXT NOT NULL UNIQUE,
    summary      TEXT NOT NULL,
    body         TEXT NOT NULL,
    category_id  INTEGER NOT NULL REFERENCES categories (id),
    author_id    INTEGER NOT NULL REFERENCES authors (id),
    published_at TEXT NOT NULL, -- 2026-03-09
    updated_at   TEXT NOT NULL  -- 2026-03-09 12:30:00, in UTC
);

CREATE INDEX IF NOT EXISTS articles_by_date ON articles (published_at, id);
CREATE INDEX IF NOT EXISTS articles_by_category ON articles (category_id);
CREATE INDEX IF NOT EXISTS articles_by_author ON articles (author_id);

CREATE TABLE IF NOT EXISTS tags (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    slug TEXT NOT NULL UNIQUE
);

CREATE TABLE IF NOT EXISTS article_tags (
    article_id INTEGER NOT NULL REFERENCES articles (id) ON DELETE CASCADE,
    tag_id     INTEGER NOT NULL REFERENCES tags (id) ON DELETE CASCADE,
    PRIMARY KEY (article_id, tag_id)
);

CREATE INDEX IF NOT EXISTS article_tags_by_tag ON article_tags (tag_id);

CREATE TABLE IF NOT EXISTS comments (
    id         INTEGER PRIMARY KEY,
    article_id INTEGER NOT NULL REFERENCES articles (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    body       TEXT NOT NULL,
    created_at TEXT NOT NULL -- 2026-03-09 12:30:00, in UTC
);

CREATE INDEX IF NOT EXISTS comments_by_article ON comments (article_id, id);
