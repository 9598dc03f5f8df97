"""The read API, one module per question; ``controltower.store.read`` is the door."""
