"""Durable export: what the collector does not take now waits in a journal on this machine's disk."""
