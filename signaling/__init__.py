"""Terminals, relay requests, rooms and calls. Knows no media, no torch."""
