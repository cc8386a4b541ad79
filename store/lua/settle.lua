-- Ends reservations: all that one held comes back, and a settle then draws what was really used, more or less than that.
-- One call is one batch of one shard, and one entry of its journal.
--
-- KEYS[1] fence, KEYS[2] journal, KEYS[3] holds, KEYS[4] the tenants' earliest expiries, KEYS[5] the shard's clock,
-- KEYS[6] snapshot versions, KEYS[7..] counters and the tenants' expiries, named by their place.
-- ARGV[1] run_id of the server as the caller knows it, ARGV[2] now (microseconds)
-- then the number of ends, and each: the reservation (16 bytes), 1 if it ends only once it has expired, else 0,
--   place of the tenant's expiries, its account (parts/buckets.lua), what it holds of each finite bucket, of overage and
--   of excess, measured quantity that was used (scaled), payload (one msgpack value), the caps (parts/caps.lua)
-- Reply: one integer per end: 0 done, 1 no such reservation is open, 2 it has not expired yet,
--   3 a counter would pass its bound; and behind them the number of the journal's last entry. Error `FENCED`: the shard is not certified on this server; nothing was done.
-- Cost: about 40 us an end in a batch of a hundred. What is open says whether one has ended, so that no mark is needed.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return redis.error_reply('FENCED') end
--@include counters
--@include rollover
--@include buckets
--@include caps
--@include journal
--@include holds
at = 2
local clock = clock_of(KEYS[5], ARGV[2])

local function take_held(account)
  local held = {}
  for b = 1, #account do held[b] = take_number() end
  held.o, held.x = take_number(), take_number()
  return held
end

-- What is used more or less of each bucket, now that what was held is not held any more.
local function used_instead(account, held, back, drawn)
  local change = {o = held.o + back.o + drawn.o, x = held.x + back.x + drawn.x}
  for b = 1, #account do change[b] = held[b] + back[b] + drawn[b] end
  return change
end

local ended, replies = {}, {}
local function code(reservation, key, only_due)
  local expires = redis.call('ZSCORE', key, reservation)
  if not expires or ended[reservation] then return 1 end
  return only_due and tonumber(expires) > clock and 2 or 0
end

for e = 1, take_number() do
  local reservation, only_due, key, account = take(), take() == '1', take_key(), take_account()
  local held, quantity, payload, caps = take_held(account), take_number(), take(), take_caps()
  replies[e] = code(reservation, key, only_due)
  if replies[e] == 0 and highest(account, caps) + quantity > COUNTER_MAX then replies[e] = 3 end
  if replies[e] == 0 then
    local total = hold(account, held, -1)
    local back = give_back(account, held, total)
    book(account, back)
    local drawn = draw(account, quantity)
    book(account, drawn)
    grow_caps(caps, quantity - total)
    keep('\146' .. payload .. packed(account, used_instead(account, held, back, drawn))) -- a pair
    ended[reservation] = {key = key, tenant = account.tenant}
  end
end
replies[#replies + 1] = write_all(KEYS[2], KEYS[6])
for reservation, of in pairs(ended) do
  local key = of.key
  redis.call('HDEL', KEYS[3], reservation)
  redis.call('ZREM', key, reservation)
  note_earliest(KEYS[4], key, of.tenant)
end
if next(ended) then redis.call('SET', KEYS[5], whole(clock)) end
return replies
