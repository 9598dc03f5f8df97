-- The scopes that a key is known with in a flow; an empty one for steps that name none.
SELECT DISTINCT scope
FROM step_keys
WHERE flow = {flow:String}
    AND type = {type:String}
    AND value = {value:String}
ORDER BY scope
LIMIT 100
