-- What may be counted at most. In ARGV: granted units that the ceilings are for (-1: they do not depend on it), ceiling of
-- what is drawn (-1: none), the caps (parts/caps.lua), then the ceiling of each cap (-1: none)

local function take_ceilings()
  local ceilings = {granted = take_number(), drawn = take_number()}
  ceilings.caps = take_caps()
  for c = 1, #ceilings.caps do ceilings.caps[c].ceiling = take_number() end
  return ceilings
end

-- The levels that a decision goes by, after a place for the code: overage, excess, reserved, finite buckets, caps; then
-- how many events have the value, if there is one, or where something may be carried the size of each generation and
-- what the next period has of the included units.
local function standing(account, caps, value)
  local stand = {
    0, level(account.key, account.overage_field), level(account.key, account.excess_field),
    level(account.key, account.prefix .. 'r'),
  }
  for b = 1, #account do stand[4 + b] = level(account[b].key, account[b].field) end
  for c = 1, #caps do stand[4 + #account + c] = level(caps[c].key, caps[c].field) end
  if value then stand[#stand + 1] = met(account, value) end
  if account.links then
    fit(account)
    for _, bucket in ipairs(account.generations) do stand[#stand + 1] = bucket.size end
    stand[#stand + 1] = account.kept
  end
  return stand
end

-- The levels of a standing as a msgpack array: cmsgpack writes whole doubles as integers.
local function packed_levels(stand)
  local levels = {}
  for place = 2, #stand do levels[place - 1] = stand[place] end
  return cmsgpack.pack(levels)
end

-- The code of what stands against a use: 0 nothing, 4 a counter's bound, 5 a ceiling, 6 other ceilings are needed.
local function refusal(account, quantity, ceilings)
  local granted, drawn = 0, level(account.key, account.overage_field)
  for b = 1, #account do
    local counted = level(account[b].key, account[b].field)
    granted, drawn = granted + math.max(account[b].size, counted), drawn + counted
  end
  if ceilings.granted >= 0 and ceilings.granted ~= granted then return 6 end
  if ceilings.drawn >= 0 and drawn + quantity > ceilings.drawn then return 5 end
  for _, cap in ipairs(ceilings.caps) do
    if cap.ceiling >= 0 and level(cap.key, cap.field) + quantity > cap.ceiling then return 5 end
  end
  if highest(account, ceilings.caps) + quantity > COUNTER_MAX then return 4 end
  return 0
end
