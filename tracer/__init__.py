"""The SDK for integration services."""
