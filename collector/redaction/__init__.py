"""The second line of redaction: what a policy removes from telemetry that senders did not remove themselves."""
