-- Accounts: the buckets of a feature of a tenant in one time window, drawn from and given back to.
-- An account in ARGV: tenant, snapshot version, place of the key of its period's counters (0: it moves no counter),
--   field prefix (`ai-tokens:`), overage units allowed (-1: without end), end of life of that key (unix seconds, 0: none),
--   its meter (parts/meters.lua; if that is `unique`: place of the key of its values, how many there may be),
--   number of finite buckets, then each in the order in which it is drawn: place of its key, field, size (scaled),
--   end of life, name in the journal (one msgpack value; empty for the included bucket), then parts/rollover.lua
-- policies.balance is the rule of draw and give_back, and tests hold the two together.

local function take_account()
  local account = {tenant = take(), version = take_number(), key = take_key(), prefix = take(), overage = take_number()}
  local life = take()
  if account.key then
    keep_until(account.key, life)
    account.overage_field, account.excess_field = account.prefix .. 'o', account.prefix .. 'x'
  end
  account.meter = take()
  if account.meter == 'unique' then
    account.values, account.most = take_key(), take_number()
    keep_until(account.values, life)
  end
  for b = 1, take_number() do
    local bucket = {key = take_key(), field = take(), size = take_number()}
    keep_until(bucket.key, take())
    bucket.name = take()
    if bucket.name == '' then account.included = b end
    account[b] = bucket
  end
  take_carrying(account)
  return account
end

local function take_accounts()
  local accounts = {}
  for a = 1, take_number() do accounts[a] = take_account() end
  return accounts
end

-- How a quantity spreads over the buckets: the amounts by the finite buckets' places, `o` for overage, `x` for excess.
local function draw(account, quantity)
  if account.links then fit(account) end
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
  local back = {x = -math.min(quantity, math.max(0, used(account.key, account.excess_field)))}
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
  if account.late then count_late(account, drawn) end
end

-- The amounts of the buckets with a name as an array of pairs: of the generations, or of the others.
local function named(account, drawn, generations)
  local parts, count = {''}, 0
  for b = 1, #account do
    local bucket = account[b]
    if drawn[b] ~= 0 and bucket.name ~= '' and (bucket.generation ~= nil) == generations then
      count = count + 1
      parts[count + 1] = '\146' .. bucket.name .. cmsgpack.pack(drawn[b])
    end
  end
  parts[1] = '\220' .. struct.pack('>I2', count)
  return table.concat(parts), count
end

-- A draw as the journal has it: an array, which goes on with grants and generations only if some take part.
local function packed(account, drawn)
  local included = account and account.included and drawn[account.included] or 0
  if not account or #account < 2 then return cmsgpack.pack({included, drawn.o, drawn.x}) end
  local grants, from_grants = named(account, drawn, false)
  local generations, from_generations = '', 0
  if account.links then generations, from_generations = named(account, drawn, true) end
  if from_grants + from_generations == 0 then return cmsgpack.pack({included, drawn.o, drawn.x}) end
  local head = cmsgpack.pack(included, drawn.o, drawn.x) .. grants
  if from_generations == 0 then return '\148' .. head end
  return '\149' .. head .. generations
end
