-- A day whose parts are all older than three hours is merged into one: what a transaction's spans are looked up in was dozens of
-- parts a day, each with an index of its own. It costs a span one more writing, when nothing arrives for its day any more.
ALTER TABLE otel_traces
    MODIFY SETTING min_age_to_force_merge_seconds = 10800, min_age_to_force_merge_on_partition_only = 1;
