-- tokenctl check: what the server compares. Kind and id of what has a problem, and the problem.

SELECT 'user', user_id, 'is not found by its name'
FROM users u WHERE NOT deleted AND NOT EXISTS (
    SELECT FROM user_names n WHERE n.name = lower(u.name) AND n.user_id = u.user_id)
UNION ALL SELECT 'user', user_id, 'has a name but does not exist'
FROM user_names WHERE user_id NOT IN (SELECT user_id FROM users WHERE NOT deleted)
UNION ALL SELECT 'user', coalesce(u.user_id, a.user_id), 'is not found by its access token'
FROM (SELECT user_id, access_hash FROM users WHERE NOT deleted) u
    FULL JOIN access_hashes a USING (user_id)
WHERE hash IS DISTINCT FROM substring(access_hash FOR 16)
UNION ALL SELECT 'user', user_id, 'the count of its tokens is another'
FROM users LEFT JOIN (SELECT user_id, count(*) AS count FROM tokens GROUP BY user_id) t
    USING (user_id)
WHERE token_count <> coalesce(count, 0)
UNION ALL SELECT 'user', user_id, 'is above the last id'
FROM users WHERE user_id > (SELECT last_value FROM user_ids)
UNION ALL SELECT 'token', id, 'is above the last id'
FROM tokens WHERE id > (SELECT last_value FROM token_ids)
UNION ALL SELECT 'gateway', id, 'is above the last id'
FROM gateways WHERE id > (SELECT last_value FROM gateway_ids)
UNION ALL SELECT 'token', id, 'exists twice'
FROM tokens GROUP BY id HAVING count(*) > 1
UNION ALL SELECT 'token', id, 'its user does not exist'
FROM tokens WHERE user_id NOT IN (SELECT user_id FROM users)
UNION ALL SELECT 'token', id, 'its used_quota is below 0'
FROM tokens WHERE used_quota < 0
UNION ALL SELECT 'token', id, 'is not found by its key'
FROM tokens t LEFT JOIN keys k ON hash = key_hash
WHERE (k.user_id = t.user_id AND token_id = id) IS NOT TRUE
UNION ALL SELECT 'token', id, 'is not found by its old key'
FROM tokens t LEFT JOIN keys k ON hash = old_key_hash
WHERE has_old_key AND (k.user_id = t.user_id AND token_id = id) IS NOT TRUE
UNION ALL SELECT 'token', token_id, 'has not the key that leads to it'
FROM keys k LEFT JOIN tokens t ON t.user_id = k.user_id AND id = token_id
WHERE (hash = key_hash OR has_old_key AND hash = old_key_hash) IS NOT TRUE
UNION ALL SELECT 'reservation', id, 'has an amount below 0'
FROM reservations WHERE least(reserved, amount, shortfall) < 0
UNION ALL SELECT 'token', t.id, 'its reservations took more than it has used'
FROM tokens t JOIN (
    SELECT user_id, token_id, sum(CASE WHEN ended THEN amount ELSE reserved END) AS taken
    FROM reservations GROUP BY user_id, token_id) r
    ON r.user_id = t.user_id AND token_id = t.id
WHERE taken > used_quota;
