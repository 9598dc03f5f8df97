"""Flow definitions and the engine that resolves steps into transactions."""
