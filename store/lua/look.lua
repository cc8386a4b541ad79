-- Reads counters, open reservations and the end of the journal at one instant, so that they can be held against what
-- Postgres has up to the same place of the journal. Changes nothing.
--
-- KEYS[1] fence, KEYS[2] journal, KEYS[3] set of the corrections that were applied, KEYS[4] holds, KEYS[5..] counters and
-- the tenants' expiries, named by their place.
-- ARGV[1] run_id of the server as the caller knows it, ARGV[2] id of the journal entry that Postgres has last, ARGV[3] how
--   many entries there may be after it
-- then the number of corrections, and each: its id; then the number of time windows, and each: place of the counters' key,
--   number of fields (0: all), the fields; then the number of tenants, and each: place of the tenant's expiries
-- Reply: the entries after that one, or only one of them if there are more than there may be; per correction 1 if it was
--   applied, else 0; per window an array of fields and values, with false for a field that is not there; per tenant an
--   array of its open reservations, each with 1 if its hold is there, else 0.
--   Error `FENCED`: the shard is not certified on this server; its counters may not be believed.
-- Cost: about 1 us a window and 0.2 us a field.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return redis.error_reply('FENCED') end
local at = 3
local function take() at = at + 1; return ARGV[at] end
local function take_number() return tonumber(take()) end

local most = tonumber(ARGV[3])
local entries = redis.call('XRANGE', KEYS[2], '(' .. ARGV[2], '+', 'COUNT', most + 1)
if #entries > most then return {{entries[1]}, {}, {}, {}} end

local applied = {}
for c = 1, take_number() do applied[c] = redis.call('SISMEMBER', KEYS[3], take()) end

local windows = {}
for w = 1, take_number() do
  local key, count, found = KEYS[take_number()], take_number(), {}
  if count == 0 then found = redis.call('HGETALL', key) end
  for f = 1, count do
    local field = take()
    found[2 * f - 1], found[2 * f] = field, redis.call('HGET', key, field)
  end
  windows[w] = found
end

local tenants = {}
for t = 1, take_number() do
  local found = {}
  local key = KEYS[take_number()]
  for r, reservation in ipairs(redis.call('ZRANGE', key, 0, -1)) do
    found[2 * r - 1], found[2 * r] = reservation, redis.call('HEXISTS', KEYS[4], reservation)
  end
  tenants[t] = found
end
return {entries, applied, windows, tenants}
