-- Tern ledger, record version 1
-- Gives a call's reservation back unspent and leaves a tombstone, so that a reserve that arrives later cannot leak.
-- ARGV  3 seconds that the tombstone stands
-- -> released | lost

local record = open_record()
if record then close(record, 0, 0, clock()) end
redis.call('SET', done_key, 'released', 'EX', ARGV[3], 'NX')
return {'released'}
