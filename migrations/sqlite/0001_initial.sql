-- The whole schema: the same tables, columns and constraints as Postgres has (see there for what they are for), in
-- SQLite's types. Four rules hold in all of it:
--
--   * Tables are strict: SQLite would otherwise take any value in any column.
--   * Times are the program's own, integer microseconds since 1970 in UTC; ids are the sixteen bytes of a UUID.
--   * Everything that would let somebody act as a user is kept as a hash (SHA-256) or sealed (AES-256-GCM). Phone
--     numbers are never here in the clear.
--   * No foreign keys, as in Postgres: users and apps are never deleted, an erased user leaves a tombstone.

create table data_keys (
    -- Autoincrement: an id is never given twice, since it is named in everything sealed with the key.
    id         integer not null constraint data_keys_pk primary key autoincrement,
    purpose    text    not null,
    wrapped    blob    not null,
    state      text    not null default 'active',
    created_at integer not null,
    constraint data_keys_purpose_check check (purpose in ('phone_index', 'phone_seal', 'signing_wrap', 'answer_seal')),
    constraint data_keys_state_check   check (state in ('active', 'retired')),
    constraint data_keys_wrapped_check check (length(wrapped) between 1 and 1024)
) strict;

create unique index data_keys_one_active_per_purpose on data_keys (purpose) where state = 'active';

create table users (
    id            blob    not null,
    -- HMAC of the number, and the number sealed under this id: both gone once the user is erased.
    phone_index   blob,
    phone_sealed  blob,
    -- Null: the id serves as the user name, the masked number as the name.
    user_name     text,
    name          text,
    email         text,
    status        text    not null default 'active',
    -- A session is live only while its copy of this number is the user's. Adding one ends them all at once.
    session_epoch integer not null default 0,
    created_at    integer not null,
    updated_at    integer not null,
    constraint users_pk                 primary key (id),
    constraint users_phone_index_key    unique (phone_index),
    constraint users_id_check           check (length(id) = 16),
    constraint users_status_check       check (status in ('active', 'disabled', 'erased')),
    constraint users_phone_check        check ((phone_index is null) = (status = 'erased')
                                           and (phone_sealed is null) = (status = 'erased')),
    constraint users_phone_index_check  check (length(phone_index) = 32),
    constraint users_phone_sealed_check check (length(phone_sealed) between 1 and 1024),
    constraint users_epoch_check        check (session_epoch >= 0)
) strict;

create table sessions (
    id                    blob    not null,
    token_hash            blob    not null,
    -- The replay guard: at most one session is ever opened with an access token. Null only for the sandbox's example.
    access_token_hash     blob,
    user_id               blob    not null,
    user_epoch            integer not null,
    client_id             text    not null,
    operating_sys_version text    not null,
    device_fingerprint    text    not null,
    agent                 text    not null,
    device_ip             text,
    created_at            integer not null,
    expires_at            integer not null,
    first_used_at         integer,
    revoked_at            integer,
    -- The session_token sealed under the access token: the same answer once more, for whoever holds that token.
    answer_sealed         blob,
    -- Rotation: the token before this one, when it was replaced, and its successor sealed under it.
    previous_token_hash   blob,
    rotated_at            integer,
    successor_sealed      blob,
    constraint sessions_pk                        primary key (id),
    constraint sessions_token_hash_key            unique (token_hash),
    constraint sessions_access_token_hash_key     unique (access_token_hash),
    constraint sessions_id_check                  check (length(id) = 16),
    constraint sessions_user_id_check             check (length(user_id) = 16),
    constraint sessions_token_hash_check          check (length(token_hash) = 32),
    constraint sessions_access_token_hash_check   check (length(access_token_hash) = 32),
    constraint sessions_previous_token_hash_check check (length(previous_token_hash) = 32),
    constraint sessions_client_id_check           check (length(client_id) between 1 and 64),
    constraint sessions_lifetime_check            check (expires_at > created_at),
    constraint sessions_rotation_check            check ((previous_token_hash is null) = (rotated_at is null))
) strict;

-- Partial, so that a login does not touch it: a new session has no predecessor.
create unique index sessions_previous_token_hash_key on sessions (previous_token_hash)
    where previous_token_hash is not null;

-- A user's sessions in order; the newest is the last login.
create index sessions_user on sessions (user_id, created_at);

-- For the purge alone, which compares exactly this: the later of a session's expiry and two hours after it was opened.
create index sessions_purge on sessions (max(expires_at, created_at + 7200000000));

-- For revoking the sessions of one app, a batch at a time.
create index sessions_unrevoked on sessions (client_id, created_at) where revoked_at is null;

create table apps (
    client_id     text    not null,
    name          text    not null,
    kind          text    not null,
    enabled       integer not null,
    -- Null inherits the setting.
    auto_register integer,
    -- A tenant app's secret.
    secret_hash   blob,
    created_at    integer not null,
    updated_at    integer not null,
    constraint apps_pk                  primary key (client_id),
    constraint apps_client_id_check     check (length(client_id) between 1 and 64),
    constraint apps_kind_check          check (kind in ('sdk', 'tenant')),
    constraint apps_enabled_check       check (enabled in (0, 1)),
    constraint apps_auto_register_check check (auto_register in (0, 1)),
    constraint apps_secret_hash_check   check (length(secret_hash) = 32)
) strict;

-- No state is kept: what a key does at a moment follows from the times below and from the generation after it.
create table signing_keys (
    -- RFC 7638 thumbprint: base64url of SHA-256.
    kid                 text    not null,
    -- Counted from 1. Unique, so that of the processes that make or rotate a key together one wins.
    generation          integer not null,
    alg                 text    not null,
    private_key_wrapped blob    not null,
    public_jwk          text    not null,
    created_at          integer not null,
    signs_from          integer not null,
    constraint signing_keys_pk               primary key (kid),
    constraint signing_keys_generation_key   unique (generation),
    constraint signing_keys_generation_check check (generation > 0),
    constraint signing_keys_kid_check        check (length(kid) between 1 and 128),
    constraint signing_keys_alg_check        check (alg in ('ES256', 'RS256', 'EdDSA'))
) strict;

-- One-time tickets that a tenant hands from one application to another.
create table tickets (
    ticket_hash        blob    not null,
    session_id         blob    not null,
    -- The tenant that asked for it.
    client_id          text    not null,
    device_fingerprint text    not null,
    created_at         integer not null,
    expires_at         integer not null,
    used_at            integer,
    constraint tickets_pk                primary key (ticket_hash),
    constraint tickets_ticket_hash_check check (length(ticket_hash) = 32),
    constraint tickets_session_id_check  check (length(session_id) = 16),
    constraint tickets_client_id_check   check (length(client_id) between 1 and 64),
    constraint tickets_lifetime_check    check (expires_at > created_at)
) strict;

-- For the purge. It keeps the table so small that erasing a user, the one search by session, needs no index.
create index tickets_expiry on tickets (expires_at);

create table tenant_tokens (
    token_hash  blob    not null,
    client_id   text    not null,
    -- The secret it was made under: it dies when the app's is another.
    secret_hash blob    not null,
    created_at  integer not null,
    expires_at  integer not null,
    constraint tenant_tokens_pk                primary key (token_hash),
    constraint tenant_tokens_token_hash_check  check (length(token_hash) = 32),
    constraint tenant_tokens_secret_hash_check check (length(secret_hash) = 32),
    constraint tenant_tokens_client_id_check   check (length(client_id) between 1 and 64),
    constraint tenant_tokens_lifetime_check    check (expires_at > created_at)
) strict;

create index tenant_tokens_expiry on tenant_tokens (expires_at);

-- How many billed calls of the verifier were taken, a row for each day in UTC, counted from 1970-01-01.
create table verifier_budget (
    day      integer not null,
    reserved integer not null,
    constraint verifier_budget_pk             primary key (day),
    constraint verifier_budget_reserved_check check (reserved > 0)
) strict;

-- One row, written to prove that the database takes writes again after it failed to.
create table write_probe (
    id        integer not null,
    probed_at integer not null,
    constraint write_probe_pk      primary key (id),
    constraint write_probe_one_row check (id = 1)
) strict;
