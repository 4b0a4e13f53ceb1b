-- The requests of bench/run.py, for wrk. Arguments after "--":
--   KIND USERS_FILE PASSES CHUNK STRIDE FIRST_ID QUERY
-- KIND: get, list, create: the same request each time; verify: the keys in turn; random: GET of any
-- token of any user. bench/load wrote USERS_FILE and the file of keys beside it, and printed the numbers.

local body = '{"name":"bench-000001","remain_quota":500000,"model_limits_enabled":true,' ..
    '"model_limits":"gpt-4o,claude-3-5-sonnet","allow_ips":"203.0.113.7"}'

local function build(method, head, path, content)
    local text = method .. " /api/token/" .. path .. " HTTP/1.1\r\nHost: 127.0.0.1\r\n" .. head
    if content then
        text = text .. "Content-Type: application/json\r\nContent-Length: " .. #content .. "\r\n"
    end
    return text .. "\r\n" .. (content or "")
end

local function read_users(file, count_max)
    local users = {}
    for line in io.lines(file) do
        local id, access = line:match("^(%d+) (%S+)$")
        users[#users + 1] = "Authorization: Bearer " .. access .. "\r\nNew-Api-User: " .. id .. "\r\n"
        if #users >= count_max then break end
    end
    return users
end

local thread_count = 0
function setup(thread)
    thread:set("thread_number", thread_count)
    thread_count = thread_count + 1
end

function init(args)
    local kind, file, query = args[1], args[2], args[7] or ""
    local passes, chunk, stride, first_id =
        tonumber(args[3]), tonumber(args[4]), tonumber(args[5]), tonumber(args[6])
    math.randomseed(os.time() * 64 + thread_number)
    if kind == "verify" then
        local texts, last = {}, 0
        for key in io.lines(file .. ".keys") do
            texts[#texts + 1] = build("GET", "Authorization: Bearer " .. key .. "\r\n", "verify" .. query)
        end
        request = function()
            last = last % #texts + 1
            return texts[last]
        end
    elseif kind == "random" then
        local users = read_users(file, math.huge)
        request = function()
            local number = math.random(#users)
            local id = first_id + math.random(0, passes - 1) * stride + (number - 1) * chunk +
                math.random(0, chunk - 1)
            return build("GET", users[number], tostring(id))
        end
    else
        local head = read_users(file, 1)[1]
        local fixed = {
            get = build("GET", head, tostring(first_id + 1)),
            list = build("GET", head, query),
            create = build("POST", head, "", body),
        }
        request = function() return fixed[kind] end
    end
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        'RESULT {"requests":%d,"seconds":%.6f,"p99_us":%d,"connect":%d,"read":%d,"write":%d,' ..
        '"status":%d,"timeout":%d}\n',
        summary.requests, summary.duration / 1e6, latency:percentile(99), errors.connect, errors.read,
        errors.write, errors.status, errors.timeout))
end
