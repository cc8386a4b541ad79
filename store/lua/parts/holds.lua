-- Open reservations: in a hash of the shard the journal's line of each, in a sorted set of each tenant their expiries,
-- in one of the shard the earliest expiry of each tenant. Instants are microseconds since 1970.

-- The shard's clock: the latest instant that it was told. It is written down only by who holds or ends something.
local function clock_of(key, now) return math.max(tonumber(now), tonumber(redis.call('GET', key) or '0')) end

-- Has the tenant a reservation that should have returned its units by now?
local function has_due(due, tenant, clock)
  local earliest = redis.call('ZSCORE', due, tenant)
  return earliest and tonumber(earliest) <= clock
end

-- After reservations of a tenant came or went.
local function note_earliest(due, expiries, tenant)
  local first = redis.call('ZRANGE', expiries, 0, 0, 'WITHSCORES')
  if first[1] then redis.call('ZADD', due, first[2], tenant) else redis.call('ZREM', due, tenant) end
end

-- Counts what is held of each bucket, and of all together: more with `sign` 1, less with -1. Its total.
local function hold(account, drawn, sign)
  local total = drawn.o + drawn.x
  for b = 1, #account do
    grow(account[b].key, account[b].field .. ':r', sign * drawn[b])
    total = total + drawn[b]
  end
  grow(account.key, account.overage_field .. ':r', sign * drawn.o)
  grow(account.key, account.excess_field .. ':r', sign * drawn.x)
  grow(account.key, account.prefix .. 'r', sign * total)
  return total
end
