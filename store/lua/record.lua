-- Records usage that has already happened: it always counts, drawing grants and included units in the order of
-- their priority, then overage, then excess. One call is one batch of one shard, and one entry of its journal.
--
-- KEYS[1] fence, KEYS[2] journal, KEYS[3] snapshot versions,
-- KEYS[4..] counters and marks, named by their place.
-- ARGV[1] run_id of the server as the caller knows it
-- ARGV[2] number of accounts, ARGV[3] number of events, ARGV[4] life of marks in seconds
-- then per account, an account being a feature of a tenant in one time window:
--   tenant, snapshot version, place of the counters' key (0: moves no counter), field prefix (`ai-tokens:`),
--   included (scaled), overage units allowed (-1: without end), end of life of the counters (unix seconds, 0: none),
--   number of grants that are drawn before the included units, then each in order: place of the counters' key, field,
--   quantity (scaled), end of life, name in the journal (one msgpack value); the same of those drawn after them
-- then per event:
--   account (from 1), measured quantity (scaled), places of the marks' keys of today, yesterday and the day before,
--   digest (12 bytes), fingerprint (decimal), payload (one msgpack value), number of caps,
--   then per cap: place of the counters' key, field, end of life
-- Reply: one integer per event: 0 accepted, 1 duplicate, 2 the id came with another body,
--   3 stale (the caller's snapshot is older than the tenant's), 4 a counter would pass its bound.
--   Error `FENCED`: the shard is not certified on this server; nothing was done.
-- Cost: about 3 us an event, as much again if it draws from grants, and 0.1 us for each full one that it passes.
-- Journal first, counters next, marks last: a script that is torn by a crash leaves at worst an event without a
-- mark, which the flush recognises.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return redis.error_reply('FENCED') end
local COUNTER_MAX = 9e15
local at = 4
local function take() at = at + 1; return ARGV[at] end
local function whole(n) return string.format('%.0f', n) end

local levels, grown, ends = {}, {}, {} -- by key, then field: as read, as added; by key: end of life
local function level(key, field)
  local known = levels[key]
  if not known then known = {}; levels[key] = known; grown[key] = {} end
  if not known[field] then known[field] = tonumber(redis.call('HGET', key, field) or '0') end
  return known[field]
end
local function grow(key, field, amount)
  if amount > 0 then
    levels[key][field] = levels[key][field] + amount
    grown[key][field] = (grown[key][field] or 0) + amount
  end
end

local NONE = {} -- no grants, or nothing taken from any
local function take_grants()
  local count, grants = tonumber(take()), NONE
  if count > 0 then grants = {} end
  for g = 1, count do
    grants[g] = {key = KEYS[tonumber(take())], field = take(), size = tonumber(take())}
    ends[grants[g].key], grants[g].name = take(), take()
  end
  return grants
end

local accounts = {}
for a = 1, tonumber(ARGV[2]) do
  local tenant, version = take(), tonumber(take())
  local account = {key = KEYS[tonumber(take())], prefix = take(), included = tonumber(take()), overage = tonumber(take())}
  account.stale = version < tonumber(redis.call('HGET', KEYS[3], tenant) or '0')
  local life = take()
  if account.key then ends[account.key] = life end
  account.before, account.after = take_grants(), take_grants()
  accounts[a] = account
end

-- Takes from grants in their order; gives what is left, and puts a pair of grant and amount for each into `taken`.
local function draw_grants(grants, quantity, taken)
  for g = 1, #grants do
    if quantity == 0 then break end
    local grant = grants[g]
    local amount = math.min(quantity, math.max(0, grant.size - level(grant.key, grant.field)))
    if amount > 0 then taken[#taken + 1] = {grant, amount} end
    quantity = quantity - amount
  end
  return quantity
end

-- How a quantity spreads over the buckets; policies.balance.draw is the rule, and a test holds the two together.
local function draw(account, quantity)
  local taken = NONE
  if account.before ~= NONE or account.after ~= NONE then taken = {} end
  quantity = draw_grants(account.before, quantity, taken)
  local i = level(account.key, account.prefix .. 'i')
  local o = level(account.key, account.prefix .. 'o')
  local included = math.min(quantity, math.max(0, account.included - i - o))
  local rest = draw_grants(account.after, quantity - included, taken)
  local room = account.overage
  if room >= 0 then room = math.max(0, math.max(account.included, i) + room - i - o - included) else room = rest end
  local overage = math.min(rest, room)
  return {included, overage, rest - overage}, taken
end

-- A draw as the journal has it: an array, whose fourth is there only if a grant was drawn from.
local function packed(drawn, taken)
  if #taken == 0 then return cmsgpack.pack(drawn) end
  local parts = {'\148', cmsgpack.pack(drawn[1], drawn[2], drawn[3]), '\220', struct.pack('>I2', #taken)}
  for t, pair in ipairs(taken) do
    parts[3 * t + 2], parts[3 * t + 3], parts[3 * t + 4] = '\146', pair[1].name, cmsgpack.pack(pair[2])
  end
  return table.concat(parts)
end

local NOTHING = {0, 0, 0}
local replies, payloads, marks, seen = {}, {}, {}, {}
for e = 1, tonumber(ARGV[3]) do
  local account, quantity = accounts[tonumber(take())], tonumber(take())
  local days = {KEYS[tonumber(take())], KEYS[tonumber(take())], KEYS[tonumber(take())]}
  local digest, fingerprint, payload = take(), take(), take()
  local caps = {}
  for c = 1, tonumber(take()) do
    caps[c] = {KEYS[tonumber(take())], take()}
    ends[caps[c][1]] = take()
  end
  local before = seen[digest]
  for d = 1, 3 do before = before or redis.call('HGET', days[d], digest) end
  if before then replies[e] = before == fingerprint and 1 or 2
  elseif account.stale then replies[e] = 3
  else
    local bounded = account.key and level(account.key, account.prefix .. 'x') or 0
    for c = 1, #caps do bounded = math.max(bounded, level(caps[c][1], caps[c][2])) end
    local drawn, taken = NOTHING, NONE
    if account.key then
      drawn, taken = draw(account, quantity)
      bounded = math.max(bounded, level(account.key, account.prefix .. 'i'), level(account.key, account.prefix .. 'o'))
    end
    if bounded + quantity > COUNTER_MAX then replies[e] = 4
    else
      if account.key then
        grow(account.key, account.prefix .. 'i', drawn[1])
        grow(account.key, account.prefix .. 'o', drawn[2])
        grow(account.key, account.prefix .. 'x', drawn[3])
      end
      for t = 1, #taken do grow(taken[t][1].key, taken[t][1].field, taken[t][2]) end
      for c = 1, #caps do grow(caps[c][1], caps[c][2], quantity) end
      seen[digest] = fingerprint
      marks[#marks + 1] = {days[1], digest, fingerprint}
      payloads[#payloads + 1] = '\146' .. payload .. packed(drawn, taken) -- a pair
      replies[e] = 0
    end
  end
end

if #payloads > 0 then
  local blob = '\221' .. struct.pack('>I4', #payloads) .. table.concat(payloads) -- an array of pairs
  redis.call('XADD', KEYS[2], '*', 'n', #payloads, 'b', blob, 'x', redis.sha1hex(blob))
  for key, fields in pairs(grown) do
    local touched = false
    for field, amount in pairs(fields) do redis.call('HINCRBY', key, field, whole(amount)); touched = true end
    if touched and ends[key] ~= '0' then redis.call('EXPIREAT', key, ends[key]) end
  end
  for _, mark in ipairs(marks) do
    redis.call('HSET', mark[1], mark[2], mark[3])
    redis.call('EXPIRE', mark[1], ARGV[4])
  end
end
return replies
