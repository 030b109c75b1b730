"""The media worker and what surrounds a call: page, targets, settings, command line."""
