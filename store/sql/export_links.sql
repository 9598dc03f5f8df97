-- Keys that were seen together, child below parent, page by page in the order of the table.
SELECT
    child.type AS type,
    child.value AS value,
    child.scope AS scope,
    parent.type AS parent_type,
    parent.value AS parent_value,
    parent.scope AS parent_scope
FROM key_links
WHERE flow = {flow:String}
    AND (child.type, child.value, child.scope, parent.type, parent.value, parent.scope)
    > ({type:String}, {value:String}, {scope:String}, {parent_type:String}, {parent_value:String}, {parent_scope:String})
GROUP BY ALL
ORDER BY child.type, child.value, child.scope, parent.type, parent.value, parent.scope
LIMIT {limit:UInt32}
