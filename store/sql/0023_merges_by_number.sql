-- How often a span is written anew while it is loaded is what merges cost, and they cost as much as the load. The engine lowers
-- this base by itself, from ten parts of a partition on, and to two at fifty: so with a large one a partition has some thirty
-- parts, is merged when it has fifty to sixty, and each row was written anew once in 700 inserts of one size, instead of 2.6 times with twelve.
-- The tables of keys and of traces stay as they are: their merges cost a thirtieth, and searches look into all of their parts.
ALTER TABLE otel_traces MODIFY SETTING merge_selector_base = 1000;
