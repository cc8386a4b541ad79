-- Holds units for a use that is to come, if all of it fits: decided like a consume, counted in buckets and caps at once,
-- and as reserved beside. One call is one reservation.
--
-- KEYS[1] fence, KEYS[2] journal, KEYS[3] snapshot versions, KEYS[4] holds, KEYS[5] the tenant's expiries,
-- KEYS[6] the tenants' earliest expiries, KEYS[7] the shard's clock, KEYS[8..] counters and marks, named by their place.
-- ARGV[1] run_id of the server as the caller knows it, ARGV[2] life of marks in seconds, ARGV[3] now and ARGV[4] how long
--   it holds (microseconds), ARGV[5] open reservations that a tenant may have, ARGV[6] the reservation (16 bytes)
-- then the account (parts/buckets.lua), measured quantity (scaled), its mark (parts/journal.lua), payload (one msgpack
--   value), the ceilings (parts/ceilings.lua)
-- Reply: an array of a code, the instant at which it expires (0: it holds nothing), the number of the journal's last entry,
--   and the levels as in consume.lua.
--   Codes as there (never 7), and 9: the tenant has too many open ones. Only with 0 is anything changed.
--   Error `FENCED`: the shard is not certified on this server; nothing was done.
-- Cost: about 90 us of the server, its write to disk included.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return redis.error_reply('FENCED') end
--@include counters
--@include rollover
--@include buckets
--@include caps
--@include journal
--@include ceilings
--@include holds
at = 6
local account, quantity = take_account(), take_number()
local mark, payload, ceilings = take_mark(), take(), take_ceilings()
local clock, reservation = clock_of(KEYS[7], ARGV[3]), ARGV[6]

local function code()
  if mark.before then return repeated(mark) end
  if redis.call('HEXISTS', KEYS[4], reservation) == 1 then return 1 end -- put back after a wipe, which took its mark
  if account.version < tonumber(redis.call('HGET', KEYS[3], account.tenant) or '0') then return 3 end
  local found = refusal(account, quantity, ceilings)
  if found == 0 and redis.call('ZCARD', KEYS[5]) >= tonumber(ARGV[5]) then found = 9 end
  if (found == 5 or found == 9) and has_due(KEYS[6], account.tenant, clock) then found = 8 end
  return found
end

local stand = standing(account, ceilings.caps)
stand[1] = code()
local expires = 0
if stand[1] == 0 then
  expires = clock + tonumber(ARGV[4])
  local drawn, before = draw(account, quantity), packed_levels(stand)
  book(account, drawn)
  hold(account, drawn, 1)
  grow_caps(ceilings.caps, quantity)
  local line = '\148' .. payload .. packed(account, drawn) .. before .. cmsgpack.pack(expires) -- four values
  note(mark, line)
  write_all(KEYS[2], KEYS[3], ARGV[2])
  redis.call('HSET', KEYS[4], reservation, line)
  redis.call('ZADD', KEYS[5], whole(expires), reservation)
  note_earliest(KEYS[6], KEYS[5], account.tenant)
  redis.call('SET', KEYS[7], whole(clock))
end
table.insert(stand, 2, expires)
table.insert(stand, 3, tonumber(redis.call('HGET', KEYS[3], '#') or '0'))
return stand
