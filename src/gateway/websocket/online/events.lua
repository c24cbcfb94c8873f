-- Writes events into a stream, and keeps the set of users who are online: each until its score (µs of this clock).
-- KEYS: the stream, the set. ARGV: how many events the stream keeps, the lease in µs, how many users to tell of whose
-- time is over; then eight values for each event, '' for none: the fields of the stream in their order.
-- Returns: events written.
local names = {'event', 'user', 'conn', 'instance', 'core', 'route', 'reason', 'at'}
local stream, online, most, lease = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000000 + time[2])
local written = 0
local function write(values)
  local fields = {}
  for i, name in ipairs(names) do
    if values[i] ~= '' then
      fields[#fields + 1] = name
      fields[#fields + 1] = values[i]
    end
  end
  redis.call('XADD', stream, 'MAXLEN', '~', most, '*', unpack(fields))
  written = written + 1
end
for first = 4, #ARGV, 8 do
  local values = {unpack(ARGV, first, first + 7)}
  local kind, user = values[1], values[2]
  if kind == 'online' or kind == 'seen' or kind == 'offline' then
    -- Events of two instances may come in another order than they happened: the later one counts.
    local till = tonumber(values[8]) + lease
    local known = redis.call('ZSCORE', online, user)
    if kind ~= 'offline' then
      if not known or tonumber(known) < till then redis.call('ZADD', online, string.format('%.0f', till), user) end
    elseif known and tonumber(known) < till then
      redis.call('ZREM', online, user)
    end
  end
  if kind ~= 'seen' then write(values) end
end
for _, user in ipairs(redis.call('ZRANGEBYSCORE', online, '-inf', now, 'LIMIT', 0, ARGV[3])) do
  redis.call('ZREM', online, user)
  write({'offline', user, '', '', '', '', 'lapsed', now})
end
return {written}
