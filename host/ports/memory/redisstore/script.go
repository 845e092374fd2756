package redisstore

import "github.com/redis/go-redis/v9"

// What a tenant has is in four keys of one slot:
//
//	v  a hash from key to 19 digits, when the entry expires, and the value
//	k  a sorted set of the keys, all of score 0: in the order of their bytes
//	x  a sorted set of the keys that expire, by the milliseconds when they do
//	b  how many bytes keys and values have together
//
// A time is 19 digits of Unix nanoseconds, because a number of Lua's has 53 bits and texts
// of one length compare as what they write. A score, which is such a number, only
// finds the candidates.

// library is what the scripts share. drop removes a key.
const library = `
local V, K, X, B = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local function drop(key, entry)
	redis.call('HDEL', V, key)
	redis.call('ZREM', K, key)
	redis.call('ZREM', X, key)
	redis.call('DECRBY', B, #key + #entry - 19)
end
`

// putScript stores an entry: 1 is done, 0 that the condition does not hold, -1 that there
// is no room. Where all that a tenant has expires, Redis forgets it by itself; how long
// that takes is reckoned from the caller's clock, since Redis's may be another.
var putScript = redis.NewScript(library + `
local key, value, expires, score, now, nowScore = unpack(ARGV, 1, 6)
local condition, expected, maxKeys, maxBytes, never = unpack(ARGV, 7, 11)
for _, old in ipairs(redis.call('ZRANGEBYSCORE', X, '-inf', nowScore)) do
	local entry = redis.call('HGET', V, old)
	if string.sub(entry, 1, 19) <= now then drop(old, entry) end
end
local entry = redis.call('HGET', V, key)
if condition == 'absent' and entry then return 0 end
if condition == 'equal' and not (entry and string.sub(entry, 20) == expected) then return 0 end
local keys = redis.call('HLEN', V)
local bytes = tonumber(redis.call('GET', B) or '0') + #value
if entry then bytes = bytes - (#entry - 19) else keys = keys + 1; bytes = bytes + #key end
if keys > tonumber(maxKeys) or bytes > tonumber(maxBytes) then return -1 end
redis.call('HSET', V, key, expires .. value)
redis.call('ZADD', K, 0, key)
if expires == never then redis.call('ZREM', X, key) else redis.call('ZADD', X, score, key) end
redis.call('SET', B, string.format('%.0f', bytes))
if redis.call('ZCARD', X) == keys then
	local last = redis.call('ZRANGE', X, -1, -1, 'WITHSCORES')[2]
	local left = string.format('%.0f', tonumber(last) - tonumber(nowScore) + 60000)
	for i = 1, 4 do redis.call('PEXPIRE', KEYS[i], left) end
else
	for i = 1, 4 do redis.call('PERSIST', KEYS[i]) end
end
return 1`)

// deleteScript removes a key: 1 is that it was there.
var deleteScript = redis.NewScript(library + `
local key, now = ARGV[1], ARGV[2]
local entry = redis.call('HGET', V, key)
if not entry then return 0 end
drop(key, entry)
if redis.call('HLEN', V) == 0 then redis.call('DEL', B) end
if string.sub(entry, 1, 19) <= now then return 0 end
return 1`)

// listScript returns keys, or keys and values by turns up to a number of bytes, of which
// the first entry may have any.
var listScript = redis.NewScript(library + `
local min, max, limit, now, nowScore, maxBytes = unpack(ARGV)
limit, maxBytes = tonumber(limit), tonumber(maxBytes)
local found, count, bytes = {}, 0, 0
while true do
	local page = redis.call('ZRANGEBYLEX', K, min, max, 'LIMIT', 0, 500)
	for _, key in ipairs(page) do
		local score = redis.call('ZSCORE', X, key)
		local entry = nil
		if maxBytes > 0 or (score and tonumber(score) <= tonumber(nowScore)) then entry = redis.call('HGET', V, key) end
		if not entry or string.sub(entry, 1, 19) > now then
			if maxBytes > 0 then
				bytes = bytes + #key + #entry - 19
				if bytes > maxBytes and count > 0 then return found end
				found[2 * count + 1], found[2 * count + 2] = key, string.sub(entry, 20)
			else
				found[count + 1] = key
			end
			count = count + 1
			if count >= limit then return found end
		end
		min = '(' .. key
	end
	if #page < 500 then return found end
end`)
