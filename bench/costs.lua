-- verb: load, find, find-with-payload or set, over `names` secrets in each of `accounts` accounts. load sets each once,
-- and ends; the others take any, evenly.
local verb, accounts, names = os.getenv("verb"), tonumber(os.getenv("accounts")), tonumber(os.getenv("names"))
local total, n, answered = accounts * names, -1, 0 -- the first request that is made is a trial, which wrk does not send
local tail = verb == "find-with-payload" and "&expand[]=payload" or ""
local payload = "&payload=" .. string.rep("p", 200)
local headers = {
  ["Authorization"] = "Bearer " .. os.getenv("key"),
  ["Content-Type"] = "application/x-www-form-urlencoded",
}
math.randomseed(os.time())

request = function()
  local i = verb == "load" and math.max(0, n) % total or math.random(0, total - 1)
  n = n + 1
  headers["Stripe-Account"] = string.format("acct_%d", i % accounts)
  local where = string.format("name=name-%d&scope[type]=account", math.floor(i / accounts))
  if verb == "find" or verb == "find-with-payload" then
    return wrk.format("GET", "/v1/apps/secrets/find?" .. where .. tail, headers)
  end
  return wrk.format("POST", "/v1/apps/secrets", headers, where .. payload)
end

-- Ends wrk once the last is answered; what each connection still has under way sets the first ones again.
if verb == "load" then
  response = function(status, _, body)
    if status ~= 200 then
      io.stderr:write("refused: ", body, "\n")
      os.exit(1)
    end
    answered = answered + 1
    if answered >= total + 32 then os.exit(0) end
  end
end
