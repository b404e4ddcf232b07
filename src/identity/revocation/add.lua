-- Adds revocations: KEYS are the news and the state, ARGV the oldest second that matters, the length of the news, the life of both
-- keys in milliseconds, and then 20 bytes for each revocation: its mark, and the second as a big-endian number.
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. ARGV[1])
local added = 0
for i = 4, #ARGV do
    local mark = string.sub(ARGV[i], 1, 16)
    local a, b, c, d = string.byte(ARGV[i], 17, 20)
    local cutoff = ((a * 256 + b) * 256 + c) * 256 + d
    local known = redis.call('ZSCORE', KEYS[2], mark)
    if not known or tonumber(known) < cutoff then
        redis.call('ZADD', KEYS[2], cutoff, mark)
        redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'v', ARGV[i])
        added = added + 1
    end
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return added
