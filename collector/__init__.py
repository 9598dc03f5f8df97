"""OTLP in: admission, the journal, and the answer that means durable."""
