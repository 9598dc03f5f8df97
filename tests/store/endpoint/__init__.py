"""Tests of the store's endpoint."""
