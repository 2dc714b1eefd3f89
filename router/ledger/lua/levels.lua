-- Tern ledger, record version 1
-- What all steps share; it stands before each of them. One script is one call of one organization, in one slot:
-- KEYS  epoch of the organization, record of the call, its done marker, deadlines, outbox, then the levels: organization, project, user, key
-- ARGV  1 the clock in microseconds ('' for the server's own), 2 the call id, then what the step says
--
-- A level is a hash. `<period>:spent` is money spent, `<period>:held` that plus what is reserved, in nano-USD, for the
-- periods d2026-11-20, m2026-11 and all; `slots` counts calls in flight; `<bucket>:used` and `<bucket>:at` are a token
-- bucket. Periods are fields, not keys: only the clock in here knows them, and keys have to be declared.

local VERSION = '1'
local DAY_US = 86400000000
local KEEP_DAYS, KEEP_MONTH_DAYS = 3, 62
local UNIT = 60000000 -- a bucket counts 1/UNIT tokens, so that it falls by `limit` whole units per microsecond

local epoch_key, record_key, done_key, deadlines_key, outbox_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local FIRST_LEVEL, LEVELS = 5, 4
local call_id = ARGV[2]

local function int(number) -- exact up to 2^53, where tostring keeps 14 digits
  return string.format('%.0f', number)
end

local function clock()
  if ARGV[1] ~= '' then return tonumber(ARGV[1]) end
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- Year, month and day (UTC) by the proleptic Gregorian calendar, counted from 1 March 0000 (H. Hinnant, "chrono-
-- Compatible Low-Level Date Algorithms").
local function civil(at_us)
  local floor = math.floor
  local days = floor(at_us / DAY_US) + 719468
  local era = floor(days / 146097)
  local of_era = days - era * 146097
  local year = floor((of_era - floor(of_era / 1460) + floor(of_era / 36524) - floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + floor(year / 4) - floor(year / 100))
  local month = floor((5 * of_year + 2) / 153)
  local day = of_year - floor((153 * month + 2) / 5) + 1
  month = month < 10 and month + 3 or month - 9
  return year + era * 400 + (month <= 2 and 1 or 0), month, day
end

local function periods_at(at_us)
  local year, month, day = civil(at_us)
  return string.format('d%04d-%02d-%02d', year, month, day), string.format('m%04d-%02d', year, month)
end

local function drained(used, at, limit, now)
  local elapsed = at and math.max(0, now - tonumber(at)) or 0
  return math.max(0, (tonumber(used) or 0) - elapsed * limit)
end

local function keep_record(at_us, day, month, price, amount, tokens, counted, limits, facts)
  redis.call('HSET', record_key, 'version', VERSION, 'at', int(at_us), 'day', day, 'month', month, 'price', price,
    'amount', int(amount), 'tokens', int(tokens), 'counted', counted, 'limits', limits, 'facts', facts)
end

-- The open record of this call, or nil. A record that another version wrote is left to that version.
local function open_record()
  local values = redis.call('HMGET', record_key, 'version', 'day', 'month', 'amount', 'tokens', 'limits')
  if not values[1] then return nil end
  if values[1] ~= VERSION then error('the record has version ' .. values[1]) end
  return {
    day = values[2], month = values[3], amount = tonumber(values[4]), tokens = tonumber(values[5]), limits = values[6],
  }
end

-- The fields of money that a call moves on every level, with those of its periods first.
local function money_fields(day, month)
  return {
    day .. ':held', month .. ':held', 'all:held', 'slots', day .. ':spent', month .. ':spent', 'all:spent',
  }
end

-- Changes the levels by what became of a call; `limits` are those it was admitted under, nil to leave buckets alone.
local function book(fields, held, spent, slots, limits, tokens, now)
  for i = 1, LEVELS do
    local buckets = limits and limits[i].tokens
    local names = fields
    if buckets then
      names = {unpack(fields)}
      for _, bucket in ipairs(buckets) do
        names[#names + 1], names[#names + 2] = bucket[1], bucket[2]
      end
    end
    local key = KEYS[FIRST_LEVEL + i]
    local values = redis.call('HMGET', key, unpack(names))
    local change = {
      names[1], int((values[1] or 0) + held), names[2], int((values[2] or 0) + held),
      names[3], int((values[3] or 0) + held), names[4], int(math.max(0, (values[4] or 0) + slots)),
    }
    for index = 5, spent ~= 0 and 7 or 0 do
      change[#change + 1], change[#change + 2] = names[index], int((values[index] or 0) + spent)
    end
    for index = 8, #names, 2 do
      local used = drained(values[index], values[index + 1], buckets[(index - 6) / 2][3], now) + tokens * UNIT
      change[#change + 1], change[#change + 2] = names[index], int(math.max(0, used))
      change[#change + 1], change[#change + 2] = names[index + 1], int(now)
    end
    redis.call('HSET', key, unpack(change))
  end
end

-- Ends an open call: gives its reservation back on every level and spends `cost` for `tokens`.
local function close(record, cost, tokens, now)
  local limits = tokens ~= record.tokens and cjson.decode(record.limits) or nil
  local fields = money_fields(record.day, record.month)
  book(fields, cost - record.amount, cost, -1, limits, tokens - record.tokens, now)
  redis.call('DEL', record_key)
  redis.call('ZREM', deadlines_key, call_id)
end

-- Without its epoch an organization's counters are not to be trusted: Redis lost them, or never had them.
if redis.call('EXISTS', epoch_key) == 0 then return {'lost'} end
