-- Transactions touched by a cycle that was cut off; rows that it deleted count, too. What was judged anew because of the time or
-- of a source has new verdicts and no new memberships, and of the verdicts deadlines are written first.
SELECT DISTINCT anchor
FROM (
    SELECT anchor
    FROM transaction_steps
    WHERE flow = {flow:String}
        AND version > {completed:UInt64}
    UNION ALL
    SELECT anchor
    FROM deadlines
    WHERE flow = {flow:String}
        AND version > {completed:UInt64}
)
