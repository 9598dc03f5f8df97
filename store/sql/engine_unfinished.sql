-- Transactions touched by a cycle that was cut off; rows that it deleted count, too.
SELECT DISTINCT
    anchor
FROM transaction_steps
WHERE flow = {flow:String}
    AND version > {completed:UInt64}
