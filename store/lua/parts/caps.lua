-- Caps: counters of a tenant or an entity in windows of their own, which everything measured adds to.
-- In ARGV: their number, then per cap: place of the counters' key, field, end of life

local function take_caps()
  local caps = {}
  for c = 1, take_number() do
    caps[c] = {key = take_key(), field = take()}
    keep_until(caps[c].key, take())
  end
  return caps
end

local function grow_caps(caps, amount)
  for c = 1, #caps do grow(caps[c].key, caps[c].field, amount) end
end

-- The counter that is nearest to its bound, of those that a quantity is added to.
local function highest(account, caps)
  local most = 0
  for c = 1, #caps do most = math.max(most, level(caps[c].key, caps[c].field)) end
  if account.key then
    local included = account[account.included]
    most = math.max(most, level(included.key, included.field), level(account.key, account.overage_field))
    most = math.max(most, level(account.key, account.excess_field))
  end
  return most
end
