-- Named positions of the engine.
SELECT
    name,
    value
FROM engine_state FINAL
