"""One small module per framework or client."""
