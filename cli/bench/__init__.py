"""``controltower bench``: drives a running collector over the wire, and says what it took."""
