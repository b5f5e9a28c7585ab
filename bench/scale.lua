-- verb: load, set or find. Secret n of those loaded is name n/1000%10 of account n/10000*1000 + n%1000: a thousand accounts
-- at a time get ten secrets each. load sets from..to-1 once, in this order; the others pick any below total, evenly.
local verb, total = os.getenv("verb"), tonumber(os.getenv("total"))
local n = tonumber(os.getenv("from") or 0)
local payload = "&payload=" .. string.rep("p", 200)
local headers = { ["Authorization"] = "Bearer " .. os.getenv("key"), ["Content-Type"] = "application/x-www-form-urlencoded" }
local answered = n
math.randomseed(os.time())

request = function()
  local at = verb == "load" and math.min(n, total - 1) or math.random(0, total - 1)
  n = n + 1
  headers["Stripe-Account"] = string.format("acct_%d", math.floor(at / 10000) * 1000 + at % 1000)
  local where = string.format("name=name-%d&scope[type]=account", math.floor(at / 1000) % 10)
  if verb == "find" then return wrk.format("GET", "/v1/apps/secrets/find?" .. where, headers) end
  return wrk.format("POST", "/v1/apps/secrets", headers, where .. payload)
end

if verb == "load" then
  response = function()
    answered = answered + 1
    if answered >= total + 64 then wrk.thread:stop() end
  end
end
