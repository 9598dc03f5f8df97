-- A segment makes a part of its own of tens of thousands of rows. Merged five at a time, as the engine does by itself, a span is
-- written anew twice or three times while it is loaded; twelve at a time, once or twice. The parts that wait meanwhile, some
-- ten for each twelvefold size, are few beside what queries of one trace or key can open.
ALTER TABLE otel_traces MODIFY SETTING merge_selector_base = 12;
ALTER TABLE otel_traces_trace_id_ts MODIFY SETTING merge_selector_base = 12;
ALTER TABLE span_keys MODIFY SETTING merge_selector_base = 12;
