-- A node's body or a tool: statistics of the text at "text" of what it is given.
local message = json.decode(read_all())
local text = (message.input or message.args or {}).text
if type(text) ~= "string" then error("there is no text") end

local words, counts = 0, {}
for word in text:gmatch("[%w\128-\255]+") do
  word = word:lower()
  words = words + 1
  counts[word] = (counts[word] or 0) + 1
end

local most
for word, n in pairs(counts) do
  if not most or n > counts[most] or n == counts[most] and word < most then most = word end
end

local _, lines = text:gsub("\n", "")
print(json.encode({ characters = utf8.len(text), words = words, lines = lines + 1, most_common = most or json.null }))
