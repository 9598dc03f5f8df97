-- What a business key is: the transactions that it anchors, and each flow and type in which steps carry it. Read with every
-- look-up, so it takes of both tables no more than the columns of their order.
SELECT
    true AS anchors,
    flow,
    anchor.type AS type,
    anchor.scope AS scope,
    anchor.value AS value
FROM transactions FINAL
WHERE anchor.value IN {values:Array(String)}
    AND ({type:String} = '' OR anchor.type = {type:String})
    AND ({flow:String} = '' OR flow = {flow:String})
LIMIT {limit:UInt32}
UNION ALL
SELECT DISTINCT
    false AS anchors,
    flow,
    type,
    '' AS scope,
    value
FROM step_keys
WHERE value IN {values:Array(String)}
    AND ({type:String} = '' OR type = {type:String})
    AND ({flow:String} = '' OR flow = {flow:String})
