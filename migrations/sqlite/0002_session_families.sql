-- A session whose token is rotated keeps its family: the first characters, which all its later tokens share. By their hash
-- a token is recognised that is older than the one before the current one. Null until the first rotation, so that neither
-- of these indexes is touched by a login.
alter table sessions add column family_hash blob constraint sessions_family_hash_check check (length(family_hash) = 32);

create unique index sessions_family_hash_key on sessions (family_hash) where family_hash is not null;

-- For taking away sealed successors that nobody may ask for any more.
create index sessions_sealed_successors on sessions (rotated_at) where successor_sealed is not null;

-- The one tenant that may redeem a ticket; null: every tenant.
alter table tickets add column redeemable_by text
    constraint tickets_redeemable_by_check check (length(redeemable_by) between 1 and 64);
