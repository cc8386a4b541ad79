-- Meters: what an act draws. policies.meter is the rule, and tests hold the two together.
--   sum      the measured quantity
--   max      what the measured quantity has beyond all that was drawn in the period
--   unique   the measured quantity, for a value that no event of the period had
-- An act of a `unique` account says in ARGV, behind its payload: the field of its value, which counts its events.

local function take_value(account)
  if account.meter == 'unique' then return take() end
end

-- How many events of the period had the value.
local function met(account, value) return level(account.values, value) end

-- What would be drawn beyond what was drawn; what went past every right was not.
local function asked(account, quantity, value)
  if account.meter == 'max' then
    local included = account[account.included]
    return math.max(0, quantity - level(included.key, included.field) - level(account.key, account.overage_field))
  end
  return value and met(account, value) > 0 and 0 or quantity
end

-- How high the level is: all that was drawn in the period.
local function height(account)
  local included = account[account.included]
  local drawn = level(included.key, included.field) + level(account.key, account.overage_field)
  return drawn + level(account.key, account.excess_field)
end

-- Whether the period has as many values as are kept of it, and this is another one.
local function is_crowded(account, value)
  return value and met(account, value) == 0 and height(account) >= account.most
end

-- What becomes of a quantity: where more fits than before, it was excess and becomes drawn.
local function drawn_of(account, quantity, value)
  local more = asked(account, quantity, value)
  local drawn = draw(account, more)
  if account.meter == 'max' then
    local growth = math.max(0, more - level(account.key, account.excess_field))
    drawn.x = growth - (more - drawn.x)
  end
  return drawn
end

-- Counts a draw, and an act: of a highest quantity all of a period together, since a rule that looks at all of them
-- must know that it has (lua/relevel.lua); of values each by itself, where `events` came or went.
local function count(account, drawn, value, events)
  book(account, drawn)
  if account.meter == 'max' then grow(account.key, account.prefix .. 'n', 1) end
  if value then grow(account.values, value, events) end
end
