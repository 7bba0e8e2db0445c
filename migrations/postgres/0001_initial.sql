-- The whole schema. Three rules hold in all of it:
--
--   * Times are the program's own and are handed in; no column has a time for its default.
--   * Everything that would let somebody act as a user is kept as a hash (bytea, SHA-256) or sealed (bytea, AES-256-GCM).
--     Phone numbers are never here in the clear.
--   * No foreign keys. Checking one locks the referenced row, which is a write to it: every login of one user, and of
--     one app, would queue for that row and its page (measured: a login that writes the user row carries a twelfth of
--     the throughput on a busy number). Nothing needs them: users and apps are never deleted, an erased user leaves a
--     tombstone.
--
-- Identifiers of text compare by byte (collate "C"): cheaper, and the same order in every database and store.

-- The keys that seal and index everything else, themselves wrapped under the master key, which is not in the database.
create table data_keys (
    id         integer     not null generated always as identity,
    purpose    text        not null,
    wrapped    bytea       not null,
    state      text        not null default 'active',
    created_at timestamptz not null,
    constraint data_keys_pk            primary key (id),
    constraint data_keys_purpose_check check (purpose in ('phone_index', 'phone_seal', 'signing_wrap', 'answer_seal')),
    constraint data_keys_state_check   check (state in ('active', 'retired')),
    constraint data_keys_wrapped_check check (octet_length(wrapped) between 1 and 1024)
);

-- One winner among replicas that start on an empty database together.
create unique index data_keys_one_active_per_purpose on data_keys (purpose) where state = 'active';

create table users (
    id            uuid        not null,
    -- HMAC of the number, and the number sealed under this id: both gone once the user is erased.
    phone_index   bytea,
    phone_sealed  bytea,
    -- Null: the id serves as the user name, the masked number as the name.
    user_name     text,
    name          text,
    email         text,
    status        text        not null default 'active',
    -- A session is live only while its copy of this number is the user's. Adding one ends them all at once.
    session_epoch integer     not null default 0,
    created_at    timestamptz not null,
    updated_at    timestamptz not null,
    constraint users_pk                 primary key (id),
    constraint users_phone_index_key    unique (phone_index),
    constraint users_status_check       check (status in ('active', 'disabled', 'erased')),
    constraint users_phone_check        check ((phone_index is null) = (status = 'erased')
                                           and (phone_sealed is null) = (status = 'erased')),
    constraint users_phone_index_check  check (octet_length(phone_index) = 32),
    constraint users_phone_sealed_check check (octet_length(phone_sealed) between 1 and 1024),
    constraint users_epoch_check        check (session_epoch >= 0)
);

-- For taking away what a login left behind that raced with the erasing of its user.
create index users_erased on users (updated_at) where status = 'erased';

create table sessions (
    id                    uuid        not null,
    token_hash            bytea       not null,
    -- The replay guard: at most one session is ever opened with an access token. Null only for the sandbox's example.
    access_token_hash     bytea,
    user_id               uuid        not null,
    -- Copied from the row version of the user in which the status was read.
    user_epoch            integer     not null,
    client_id             text        collate "C" not null,
    operating_sys_version text        not null,
    device_fingerprint    text        not null,
    agent                 text        not null,
    -- As text, not inet: it is recorded and compared, never computed with.
    device_ip             text,
    created_at            timestamptz not null,
    expires_at            timestamptz not null,
    first_used_at         timestamptz,
    revoked_at            timestamptz,
    -- The session_token sealed under the access token: the same answer once more, for whoever holds that token.
    answer_sealed         bytea,
    -- Rotation: the token before this one, when it was replaced, and its successor sealed under it.
    previous_token_hash   bytea,
    rotated_at            timestamptz,
    successor_sealed      bytea,
    constraint sessions_pk                        primary key (id),
    constraint sessions_token_hash_key            unique (token_hash),
    constraint sessions_access_token_hash_key     unique (access_token_hash),
    constraint sessions_token_hash_check          check (octet_length(token_hash) = 32),
    constraint sessions_access_token_hash_check   check (octet_length(access_token_hash) = 32),
    constraint sessions_previous_token_hash_check check (octet_length(previous_token_hash) = 32),
    constraint sessions_client_id_check           check (octet_length(client_id) between 1 and 64),
    constraint sessions_lifetime_check            check (expires_at > created_at),
    constraint sessions_rotation_check            check ((previous_token_hash is null) = (rotated_at is null))
);

-- Partial, so that a login does not touch it: a new session has no predecessor.
create unique index sessions_previous_token_hash_key on sessions (previous_token_hash)
    where previous_token_hash is not null;

-- A user's sessions in order; the newest is the last login.
create index sessions_user on sessions (user_id, created_at);

-- For the purge alone, which compares exactly this: the later of a session's expiry and two hours after it was opened,
-- when no access token can be left that it has to guard against. (In UTC, since an index takes no arithmetic that might
-- depend on a time zone.) Not brin: a block range keeps the oldest time it ever saw, also when its rows are purged and
-- new ones take their place, so that after one lifetime of sessions every range would seem to have something to purge.
create index sessions_purge on sessions
    (greatest(expires_at at time zone 'utc', created_at at time zone 'utc' + interval '2 hours'));

-- For revoking the sessions of one app, a batch at a time. A login adds its entry at the end of its app's.
create index sessions_unrevoked on sessions (client_id, created_at) where revoked_at is null;

-- Sessions come and go in time's order and are rarely updated. At the default of a fifth of the table, vacuum would run
-- once in days on many millions of rows and hold up everything else when it does.
alter table sessions set (
    autovacuum_vacuum_scale_factor        = 0.02,
    autovacuum_vacuum_insert_scale_factor = 0.02
);

create table apps (
    client_id     text        collate "C" not null,
    name          text        not null,
    kind          text        not null,
    enabled       boolean     not null,
    -- Null inherits the setting.
    auto_register boolean,
    -- A tenant app's secret.
    secret_hash   bytea,
    created_at    timestamptz not null,
    updated_at    timestamptz not null,
    constraint apps_pk                primary key (client_id),
    constraint apps_client_id_check   check (octet_length(client_id) between 1 and 64),
    constraint apps_kind_check        check (kind in ('sdk', 'tenant')),
    constraint apps_secret_hash_check check (octet_length(secret_hash) = 32)
);

-- No state is kept: what a key does at a moment follows from the times below and from the generation after it.
create table signing_keys (
    -- RFC 7638 thumbprint: base64url of SHA-256.
    kid                 text        collate "C" not null,
    -- Counted from 1. Unique, so that of the replicas that make or rotate a key together one wins.
    generation          bigint      not null,
    alg                 text        not null,
    private_key_wrapped bytea       not null,
    -- As text: what was published once stays the same to the byte.
    public_jwk          text        not null,
    created_at          timestamptz not null,
    signs_from          timestamptz not null,
    constraint signing_keys_pk               primary key (kid),
    constraint signing_keys_generation_key   unique (generation),
    constraint signing_keys_generation_check check (generation > 0),
    constraint signing_keys_kid_check        check (octet_length(kid) between 1 and 128),
    constraint signing_keys_alg_check        check (alg in ('ES256', 'RS256', 'EdDSA'))
);

-- One-time tickets that a tenant hands from one application to another.
create table tickets (
    ticket_hash        bytea       not null,
    session_id         uuid        not null,
    -- The tenant that asked for it.
    client_id          text        collate "C" not null,
    device_fingerprint text        not null,
    created_at         timestamptz not null,
    expires_at         timestamptz not null,
    used_at            timestamptz,
    constraint tickets_pk                primary key (ticket_hash),
    constraint tickets_ticket_hash_check check (octet_length(ticket_hash) = 32),
    constraint tickets_client_id_check   check (octet_length(client_id) between 1 and 64),
    constraint tickets_lifetime_check    check (expires_at > created_at)
);

-- For the purge. It keeps the table so small that erasing a user, the one search by session, needs no index.
create index tickets_expiry on tickets (expires_at);

create table tenant_tokens (
    token_hash  bytea       not null,
    client_id   text        collate "C" not null,
    -- The secret it was made under: it dies when the app's is another.
    secret_hash bytea       not null,
    created_at  timestamptz not null,
    expires_at  timestamptz not null,
    constraint tenant_tokens_pk                primary key (token_hash),
    constraint tenant_tokens_token_hash_check  check (octet_length(token_hash) = 32),
    constraint tenant_tokens_secret_hash_check check (octet_length(secret_hash) = 32),
    constraint tenant_tokens_client_id_check   check (octet_length(client_id) between 1 and 64),
    constraint tenant_tokens_lifetime_check    check (expires_at > created_at)
);

create index tenant_tokens_expiry on tenant_tokens (expires_at);

-- How many billed calls of the verifier the replicas have taken for themselves, a row for each day in UTC. Their last
-- reservation may go beyond the limit of the day; then it was granted in part. Never purged: ten years are 3,652 rows,
-- and say what was called when.
create table verifier_budget (
    day      date   not null,
    reserved bigint not null,
    constraint verifier_budget_pk             primary key (day),
    constraint verifier_budget_reserved_check check (reserved > 0)
);

-- One row, written to prove that the database takes writes again after it failed to. Nearly every update finds room on
-- the row's own page (nothing is indexed but the key), so it stays small.
create table write_probe (
    id        boolean     not null default true,
    probed_at timestamptz not null,
    constraint write_probe_pk      primary key (id),
    constraint write_probe_one_row check (id)
);
