"""The `controltower` command: the one place where the parts are put together."""
