-- Tern ledger, record version 1
-- Holds money, tokens, a request and a slot on all four levels, or changes nothing.
-- ARGV  3 lease in microseconds, 4 limits of each level (JSON), 5 tokens, 6 facts for the reaper (JSON), then pairs:
--       a price's first microsecond and what the call would cost at it, in the order of time
-- -> ok, at, index of the price, amount, tokens, and limit, remaining, reset in ms of the tightest request and token bucket
--    refused, level, dimension, limit, remaining, requested, retry in ms (-1 never), possible
--    gone | unpriced | lost

local lease_us, limits_json, tokens, facts = tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5]), ARGV[6]
local FIRST_PRICE = 7
local NEEDS = {{'requests', 1}, {'tokens', tokens}} -- of each dimension's buckets
local CONCURRENCY_RETRY_MS = 1000
local MONTH_DAYS = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

local now = clock()
local worst, worst_rank = nil, -1
local headroom = {requests = {-1, -1, -1}, tokens = {-1, -1, -1}}

local function price_in_force()
  local index
  for i = FIRST_PRICE, #ARGV, 2 do
    if tonumber(ARGV[i]) <= now then index = (i - FIRST_PRICE) / 2 end
  end
  return index, index and tonumber(ARGV[FIRST_PRICE + 2 * index + 1])
end

-- Keeps the refusal that holds longest, so that "retry after" is true; among equals the widest level's.
local function refuse(level, dimension, limit, remaining, requested, retry_ms)
  local possible = requested <= limit
  if not possible then retry_ms = -1 end
  local rank = not possible and math.huge or retry_ms < 0 and 1e300 or retry_ms
  if rank <= worst_rank then return end
  worst_rank = rank
  worst = {'refused', level, dimension, limit, remaining, requested, retry_ms, possible and 1 or 0}
end

local function until_reset_ms(period)
  if period == 'none' then return -1 end
  local days = 1
  if period == 'month' then
    local year, month, day = civil(now)
    local leap = month == 2 and year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
    days = MONTH_DAYS[month] + (leap and 1 or 0) - day + 1
  end
  return math.ceil((days * DAY_US - now % DAY_US) / 1000)
end

-- What a bucket holds after this call, its refusal or its headroom noted on the way.
local function fill(level, dimension, limit, used, need)
  local free = limit * UNIT - used - need * UNIT
  if free < 0 then
    refuse(level, dimension, limit, math.floor((free + need * UNIT) / UNIT), need, math.ceil(-free / limit / 1000))
  else
    local tightest, remaining = headroom[dimension], math.floor(free / UNIT)
    if tightest[1] < 0 or remaining < tightest[2] then
      local reset_ms = limit > 0 and math.ceil((used + need * UNIT) / limit / 1000) or 0
      headroom[dimension] = {limit, remaining, reset_ms}
    end
  end
  return used + need * UNIT
end

-- Forgets the periods that no open call and no late settlement of a reaped one can need any more.
local function prune(key)
  local oldest = {d = periods_at(now - KEEP_DAYS * DAY_US), m = select(2, periods_at(now - KEEP_MONTH_DAYS * DAY_US))}
  local all = redis.call('HGETALL', key)
  local held = {}
  for i = 1, #all, 2 do held[all[i]] = all[i + 1] end
  for field, value in pairs(held) do
    local period, kind = string.match(field, '^(([dm])[%d-]+):held$')
    if period and period < oldest[kind] and value == (held[period .. ':spent'] or '0') then
      redis.call('HDEL', key, field, period .. ':spent')
    end
  end
end

-- Reads one level, checks it, and returns what to write if all levels agree.
local function check(i, limits, money, amount)
  local fields, buckets = {money[1], money[2], money[3], 'slots'}, {}
  for _, need in ipairs(NEEDS) do
    for _, bucket in ipairs(limits[need[1]] or {}) do
      fields[#fields + 1], fields[#fields + 2] = bucket[1], bucket[2]
      buckets[#buckets + 1] = {need[1], bucket[3], need[2]}
    end
  end
  local values = redis.call('HMGET', KEYS[FIRST_LEVEL + i], unpack(fields))
  local held = {day = tonumber(values[1] or 0), month = tonumber(values[2] or 0), none = tonumber(values[3] or 0)}
  local slots = tonumber(values[4] or 0)
  for _, limit in ipairs(limits.spend or {}) do
    local left = limit[2] - held[limit[1]]
    if amount > left then refuse(i, 'spend', limit[2], left, amount, until_reset_ms(limit[1])) end
  end
  local change = {
    fields[1], int(held.day + amount), fields[2], int(held.month + amount), fields[3], int(held.none + amount),
    'slots', int(slots + 1),
  }
  for index, bucket in ipairs(buckets) do
    local at = 3 + 2 * index
    local used = fill(i, bucket[1], bucket[2], drained(values[at], values[at + 1], bucket[2], now), bucket[3])
    change[#change + 1], change[#change + 2] = fields[at], int(used)
    change[#change + 1], change[#change + 2] = fields[at + 1], int(now)
  end
  if limits.slots and slots >= limits.slots then
    refuse(i, 'concurrency', limits.slots, limits.slots - slots, 1, CONCURRENCY_RETRY_MS)
  end
  return change, not values[1]
end

if redis.call('EXISTS', done_key) == 1 then return {'gone'} end
local known = redis.call('HMGET', record_key, 'at', 'price', 'amount', 'tokens')
if known[1] then -- asked again after a lost reply
  return {'ok', tonumber(known[1]), tonumber(known[2]), tonumber(known[3]), tonumber(known[4]), -1, -1, -1, -1, -1, -1}
end

local price, amount = price_in_force()
if not price then return {'unpriced'} end
local day, month = periods_at(now)
local money, limits = money_fields(day, month), cjson.decode(limits_json)
local changes, is_new_day = {}, {}
for i = 1, LEVELS do changes[i], is_new_day[i] = check(i, limits[i], money, amount) end
if worst then return worst end

for i = 1, LEVELS do
  redis.call('HSET', KEYS[FIRST_LEVEL + i], unpack(changes[i]))
  if is_new_day[i] then prune(KEYS[FIRST_LEVEL + i]) end
end
keep_record(now, day, month, price, amount, tokens, '0,0,0,0', limits_json, facts)
redis.call('ZADD', deadlines_key, int(now + lease_us), call_id)
local requests, spared = headroom.requests, headroom.tokens
return {'ok', now, price, amount, tokens, requests[1], requests[2], requests[3], spared[1], spared[2], spared[3]}
