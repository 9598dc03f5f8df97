-- The exceptions of a flow that are of one kind, the open ones and those that are over.
SELECT *
FROM exceptions FINAL
WHERE flow = {flow:String}
    AND kind = {kind:String}
    AND NOT is_deleted
