-- The demo's schema, made on every shard. Users, their posts and the comments on these live together
-- on the shard that the user's id hashes to, so foreign keys and joins between them stay local.
CREATE TABLE countries (
  code text PRIMARY KEY,
  name text NOT NULL
);

CREATE TABLE users (
  id bigint PRIMARY KEY,
  name text NOT NULL,
  country text NOT NULL REFERENCES countries,
  created_at timestamptz NOT NULL
);

CREATE TABLE posts (
  user_id bigint NOT NULL REFERENCES users,
  id bigint NOT NULL,
  body text NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (user_id, id)
);
CREATE INDEX ON posts (created_at);

-- user_id is the owner of the post, author_id wrote the comment and may live on another shard.
CREATE TABLE comments (
  user_id bigint NOT NULL,
  id bigint NOT NULL,
  post_id bigint NOT NULL,
  author_id bigint NOT NULL,
  body text NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (user_id, id),
  FOREIGN KEY (user_id, post_id) REFERENCES posts (user_id, id)
);
CREATE INDEX ON comments (user_id, post_id);
