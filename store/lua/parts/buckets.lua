-- Accounts: the buckets of a feature of a tenant in one time window, drawn from and given back to.
-- An account in ARGV: tenant, snapshot version, place of the key of its period's counters (0: it moves no counter),
--   field prefix (`ai-tokens:`), overage units allowed (-1: without end), end of life of that key (unix seconds, 0: none),
--   its meter (parts/meters.lua; if that is `unique`: place of the key of its values, how many there may be),
--   number of finite buckets, then each in the order in which it is drawn: place of its key, field, size (scaled),
--   end of life, name in the journal (one msgpack value; empty for the included bucket)
-- policies.balance is the rule of draw and give_back, and tests hold the two together.

local function take_account()
  local account = {tenant = take(), version = take_number(), key = take_key(), prefix = take(), overage = take_number()}
  local life = take()
  if account.key then
    ends[account.key] = life
    account.overage_field, account.excess_field = account.prefix .. 'o', account.prefix .. 'x'
  end
  account.meter = take()
  if account.meter == 'unique' then
    account.values, account.most = take_key(), take_number()
    ends[account.values] = life
  end
  for b = 1, take_number() do
    local bucket = {key = take_key(), field = take(), size = take_number()}
    ends[bucket.key], bucket.name = take(), take()
    if bucket.name == '' then account.included = b end
    account[b] = bucket
  end
  return account
end

local function take_accounts()
  local accounts = {}
  for a = 1, take_number() do accounts[a] = take_account() end
  return accounts
end

-- How a quantity spreads over the buckets: the amounts by the finite buckets' places, `o` for overage, `x` for excess.
local function draw(account, quantity)
  local rest, o = quantity, level(account.key, account.overage_field)
  local drawn = {}
  for b = 1, #account do
    local bucket = account[b]
    local amount = 0
    if rest > 0 then
      local counted = level(bucket.key, bucket.field)
      if b == account.included then counted = counted + o end
      amount = math.min(rest, math.max(0, bucket.size - counted))
      rest = rest - amount
    end
    drawn[b] = amount
  end
  local room = account.overage
  if room >= 0 then
    local included = account[account.included]
    local i = level(included.key, included.field)
    room = math.max(0, math.max(included.size, i) + room - i - o - drawn[account.included])
  else room = rest end
  drawn.o = math.min(rest, room)
  drawn.x = rest - drawn.o
  return drawn
end

-- What of a counter is used and not held by an open reservation.
local function used(key, field) return level(key, field) - level(key, field .. ':r') end

-- Used units come back: excess and overage of the period first, then the buckets of `own`, then the others.
local function give_back(account, own, quantity)
  local back = {x = -math.min(quantity, math.max(0, level(account.key, account.excess_field)))}
  back.o = -math.min(quantity + back.x, math.max(0, used(account.key, account.overage_field)))
  local rest = quantity + back.x + back.o
  local bounds = {}
  for b = 1, #account do back[b] = 0; bounds[b] = used(account[b].key, account[b].field) end
  for _, most in ipairs({own, bounds}) do
    for b = #account, 1, -1 do
      local amount = math.max(0, math.min(rest, (most[b] or 0) + back[b], bounds[b] + back[b]))
      back[b] = back[b] - amount
      rest = rest - amount
    end
  end
  return back
end

-- Counts a draw: what was drawn, or with amounts below zero what came back.
local function book(account, drawn)
  for b = 1, #account do grow(account[b].key, account[b].field, drawn[b]) end
  grow(account.key, account.overage_field, drawn.o)
  grow(account.key, account.excess_field, drawn.x)
end

-- A draw as the journal has it: an array, whose fourth is there only if a bucket with a name takes part.
local function packed(account, drawn)
  local parts, named = {'', '', ''}, 0
  for b = 1, account and #account or 0 do
    if drawn[b] ~= 0 and account[b].name ~= '' then
      named = named + 1
      parts[3 * named + 1], parts[3 * named + 2], parts[3 * named + 3] = '\146', account[b].name, cmsgpack.pack(drawn[b])
    end
  end
  local included = account and account.included and drawn[account.included] or 0
  if named == 0 then return cmsgpack.pack({included, drawn.o, drawn.x}) end
  parts[1], parts[2], parts[3] = '\148', cmsgpack.pack(included, drawn.o, drawn.x), '\220' .. struct.pack('>I2', named)
  return table.concat(parts)
end
