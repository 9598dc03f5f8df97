-- The values to filter transactions by.
SELECT
    arraySort(groupUniqArray(1000)(toString(flow))) AS flows,
    arraySort(groupUniqArray(1000)(context['vendor'])) AS vendors,
    arraySort(groupUniqArray(1000)((toString(flow), toString(stage)))) AS stages
FROM transactions FINAL
LIMIT 1
