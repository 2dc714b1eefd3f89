-- Tern ledger, record version 1
-- Writes what levels of an organization have spent, as analytics recorded it, unless they are trusted again already.
-- KEYS  the organization's epoch, then the levels
-- ARGV  1 the new epoch ('' while more levels follow), 2 day, 3 month, then for each level what it spent in the day,
--       in the month and ever
-- -> rebuilt | known

if redis.call('EXISTS', KEYS[1]) == 1 then return {'known'} end
local periods = {ARGV[2], ARGV[3], 'all'}
for i = 2, #KEYS do
  for index, period in ipairs(periods) do
    local spent = ARGV[3 + (i - 2) * 3 + index]
    redis.call('HSET', KEYS[i], period .. ':spent', spent, period .. ':held', spent)
  end
end
if ARGV[1] ~= '' then redis.call('SET', KEYS[1], ARGV[1]) end
return {'rebuilt'}
