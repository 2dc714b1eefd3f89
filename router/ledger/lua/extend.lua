-- Tern ledger, record version 1
-- Renews the lease of an open call and records its count; with more money or tokens also reserves those.
-- ARGV  3 lease in microseconds, 4 the count so far (input,cached input,output,reasoning output),
--       5 more nano-USD, 6 more tokens (never refused: token buckets may go into debt)
-- -> extended | refused (the lease is renewed all the same) | gone | missing (Redis lost it) | lost

local lease_us, counted = tonumber(ARGV[3]), ARGV[4]
local more_amount, more_tokens = tonumber(ARGV[5]), tonumber(ARGV[6])

local record = open_record()
if not record then return {redis.call('EXISTS', done_key) == 1 and 'gone' or 'missing'} end

local now = clock()
redis.call('ZADD', deadlines_key, int(now + lease_us), call_id)
redis.call('HSET', record_key, 'counted', counted)
if more_amount == 0 and more_tokens == 0 then return {'extended'} end

local limits, fields = cjson.decode(record.limits), money_fields(record.day, record.month)
for i = 1, LEVELS do
  local spend = limits[i].spend
  if spend and more_amount > 0 then
    local values = redis.call('HMGET', KEYS[FIRST_LEVEL + i], fields[1], fields[2], fields[3])
    local held = {day = values[1] or 0, month = values[2] or 0, none = values[3] or 0}
    for _, limit in ipairs(spend) do
      if held[limit[1]] + more_amount > limit[2] then return {'refused'} end
    end
  end
end
book(fields, more_amount, 0, 0, more_tokens ~= 0 and limits or nil, more_tokens, now)
redis.call('HSET', record_key, 'amount', int(record.amount + more_amount), 'tokens', int(record.tokens + more_tokens))
return {'extended'}
