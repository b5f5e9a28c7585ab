-- find over 1,000 names in 500 user scopes; with_payload=1 asks for the payload too.
local tail = os.getenv("with_payload") and "&expand[]=payload" or ""
local requests, n = {}, 0
init = function()
  for i = 0, 999 do
    local path = "/v1/apps/secrets/find?name=name-%d&scope[type]=user&scope[user]=usr_%d%s"
    requests[i] = wrk.format("GET", string.format(path, i, i % 500, tail))
  end
end
request = function()
  n = (n + 1) % 1000
  return requests[n]
end
