-- Tern ledger, record version 1
-- Settles a call whose lease ran out, at the count that its router recorded last.
-- ARGV  3 cost in nano-USD, 4 tokens, 5 the event, 6 the count it was made from, 7 seconds to remember that it is done
-- -> reaped | spared (the lease was renewed, a newer count recorded, or the call ended meanwhile) | lost

local cost, tokens, event = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local counted, remember_seconds = ARGV[6], ARGV[7]

local now = clock()
local deadline = redis.call('ZSCORE', deadlines_key, call_id)
if not deadline or tonumber(deadline) > now then return {'spared'} end
local record = open_record()
if not record then
  redis.call('ZREM', deadlines_key, call_id)
  return {'spared'}
end
if redis.call('HGET', record_key, 'counted') ~= counted then return {'spared'} end

close(record, cost, tokens, now)
redis.call('SET', done_key, 'reaped ' .. int(cost) .. ' ' .. event, 'EX', remember_seconds)
redis.call('XADD', outbox_key, '*', 'event', event)
return {'reaped'}
