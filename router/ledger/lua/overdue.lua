-- Tern ledger, record version 1
-- The calls of a shard whose lease ran out.
-- KEYS  deadlines
-- ARGV  1 the clock in microseconds ('' for the server's own), 2 how many at most

local now = ARGV[1]
if now == '' then
  local time = redis.call('TIME')
  now = string.format('%.0f', time[1] * 1000000 + time[2])
end
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[2])
