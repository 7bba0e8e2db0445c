-- One row, made with the data keys at the first start: a server knows its database by it. Where another row or none is
-- there, the database was replaced under the running server, and the keys that the server holds are not there.
create table deployment (
    one_row integer not null,
    id      blob    not null,
    constraint deployment_pk       primary key (one_row),
    constraint deployment_one_row  check (one_row = 1),
    constraint deployment_id_check check (length(id) = 16)
) strict;
