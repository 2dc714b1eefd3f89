-- Tern ledger, record version 1
-- Ends a call once: releases its reservation, spends its cost and appends its event, together or not at all.
-- ARGV  3 cost in nano-USD, 4 tokens, 5 the event, 6 when the call occurred in microseconds (used where no record says
--       it), 7 seconds to remember that the call is done
-- -> settled | already | corrected (it had been reaped) | unknown (charged all the same) | lost

local cost, tokens, event = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local occurred_us, remember_seconds = tonumber(ARGV[6]), ARGV[7]

local record = open_record()
local now = clock()
if record then
  close(record, cost, tokens, now)
  redis.call('SET', done_key, 'settled', 'EX', remember_seconds)
  redis.call('XADD', outbox_key, '*', 'event', event)
  return {'settled'}
end

local done = redis.call('GET', done_key)
if done == 'settled' then return {'already'} end
local charged, before = string.match(done or '', '^reaped (%d+) (.*)$')
local difference = cost - (charged or 0)
book(money_fields(periods_at(occurred_us)), difference, difference, 0, nil, 0, now)
redis.call('SET', done_key, 'settled', 'EX', remember_seconds)
if charged then
  redis.call('XADD', outbox_key, '*', 'event', event, 'before', before)
  return {'corrected'}
end
redis.call('XADD', outbox_key, '*', 'event', event)
return {'unknown'}
