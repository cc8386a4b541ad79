-- name: ahead
select ahead_us from moved_clock;

-- name: lock
-- Two who move it at once: one after the other.
select ahead_us from moved_clock for update;

-- name: move
update moved_clock set ahead_us = %(ahead_us)s;
