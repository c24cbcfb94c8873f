-- One user's sockets over all instances: a sorted set, each member leased until its score (µs of this clock).
-- KEYS: the set. ARGV: what to do ('enter', 'renew', 'leave'), the member, the lease in µs, how many members there
-- may be (0: any number), and whether the oldest makes room for a newer one (0 or 1).
-- Returns: whether the member is in the set (after 'leave': 1), how many there were and are (1 where a member that
-- was there is renewed), the time in µs, and the four numbers of the oldest member if that was removed.
local key, wanted, member = KEYS[1], ARGV[1], ARGV[2]
local lease, most, gives_way = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5] == '1'
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local till, ms = string.format('%.0f', now + lease), math.ceil(lease / 1000)
local function keep()
  -- Another instance may have given a longer lease.
  if redis.call('PTTL', key) < ms then redis.call('PEXPIRE', key, string.format('%.0f', ms)) end
end
-- Nearly always: a socket that has its place keeps it.
if wanted == 'renew' and redis.call('ZADD', key, 'XX', 'CH', till, member) == 1 then
  keep()
  return {1, 1, 1, now, 0, 0, 0, 0}
end
redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now))
local before = redis.call('ZCARD', key)
if wanted == 'leave' then
  redis.call('ZREM', key, member)
  return {1, before, redis.call('ZCARD', key), now, 0, 0, 0, 0}
end
local opened, instance, core, number = 0, '0', 0, 0
if most > 0 and before >= most and not redis.call('ZSCORE', key, member) then
  -- Its lease was lost, and others have the places: with a bound that closes sockets it is the one that goes.
  if gives_way == (wanted == 'renew') then return {0, before, before, now, 0, 0, 0, 0} end
  if wanted == 'enter' then
    -- A member begins with the time at which it was opened.
    local all = redis.call('ZRANGE', key, 0, -1)
    table.sort(all)
    for i = 1, before - most + 1 do redis.call('ZREM', key, all[i]) end
    local found = {string.match(all[1], '^(%d+):(%x+):(%d+):(%d+)$')}
    if found[4] then opened, instance, core, number = found[1], found[2], found[3], found[4] end
  end
end
redis.call('ZADD', key, till, member)
keep()
return {1, before, redis.call('ZCARD', key), now, tonumber(opened), tonumber(instance, 16), tonumber(core), tonumber(number)}
