-- verb: load, set, find or find-with-payload. So many accounts at a time, a thousand if nothing is said, get ten
-- secrets each: with a thousand, the secret with number i is name i/1000%10 of account i/10000*1000 + i%1000. load sets
-- those from..total-1, once each; the others take any below total, evenly.
local verb, total = os.getenv("verb"), tonumber(os.getenv("total"))
local from, accounts = tonumber(os.getenv("from") or 0), tonumber(os.getenv("accounts") or 1000)
local tail = verb == "find-with-payload" and "&expand[]=payload" or ""
local payload = "&payload=" .. string.rep("p", 200)
local headers = {
  ["Authorization"] = "Bearer " .. os.getenv("key"),
  ["Content-Type"] = "application/x-www-form-urlencoded",
}
local n, answered = from - 1, from -- the first request that is made is a trial, which wrk does not send
math.randomseed(os.time())

request = function()
  local i = verb == "load" and math.max(from, math.min(n, total - 1)) or math.random(0, total - 1)
  n = n + 1
  headers["Stripe-Account"] = string.format("acct_%d", math.floor(i / (10 * accounts)) * accounts + i % accounts)
  local where = string.format("name=name-%d&scope[type]=account", math.floor(i / accounts) % 10)
  if verb == "find" or verb == "find-with-payload" then
    return wrk.format("GET", "/v1/apps/secrets/find?" .. where .. tail, headers)
  end
  return wrk.format("POST", "/v1/apps/secrets", headers, where .. payload)
end

-- Ends wrk once the last is answered; what each connection still has under way is answered before.
if verb == "load" then
  response = function(status, _, body)
    if status ~= 200 then
      io.stderr:write("refused: ", body, "\n")
      os.exit(1)
    end
    answered = answered + 1
    if answered >= total + 64 then os.exit(0) end
  end
end
