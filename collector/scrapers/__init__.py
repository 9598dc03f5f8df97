"""Scrapers: business steps out of what nobody will ever instrument. One module per kind of source."""
