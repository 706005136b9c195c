-- wrk: each write carries DEPTH requests (the first argument after --, 16 when none is given).
init = function(args)
   local depth = tonumber(args[1]) or 16
   local one = wrk.format("GET", wrk.path)
   batch = string.rep(one, depth)
end

request = function()
   return batch
end
