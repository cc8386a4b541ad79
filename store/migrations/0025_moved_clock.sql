-- How far the service's clock was moved, for all processes of an instance that lets it be moved.
-- migrate:up
create table moved_clock (
  only_row         boolean primary key default true check (only_row),
  ahead_us         bigint not null                 -- microseconds past the machines' clocks
);
insert into moved_clock (ahead_us) values (0);

-- migrate:down
drop table moved_clock;
