-- Tern ledger, record version 1
-- Puts an open call back that Redis lost in a crash. Its router still holds it, so no limit is asked again; the token
-- buckets are left alone, time mends them.
-- ARGV  3 lease in microseconds, 4 when it was reserved in microseconds, 5 its amount, 6 its tokens, 7 limits (JSON),
--       8 facts (JSON), 9 the count so far
-- -> restored | known | gone (it ended) | lost

local lease_us, at_us, amount, tokens = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

if redis.call('EXISTS', done_key) == 1 then return {'gone'} end
if redis.call('EXISTS', record_key) == 1 then return {'known'} end
local now = clock()
local day, month = periods_at(at_us)
book(money_fields(day, month), amount, 0, 1, nil, 0, now)
keep_record(at_us, day, month, 0, amount, tokens, ARGV[9], ARGV[7], ARGV[8])
redis.call('ZADD', deadlines_key, int(now + lease_us), call_id)
return {'restored'}
