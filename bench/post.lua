-- Posts one user as JSON: wrk ... -s bench/post.lua
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"id":7,"name":"Ada Lovelace","tags":["admin","reader","writer"]}'
