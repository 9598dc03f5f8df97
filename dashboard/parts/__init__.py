"""The HTML of each page, from what was read; pure."""
