"""Object-centric event logs in the forms of OCEL: JSON, XML and SQLite."""
