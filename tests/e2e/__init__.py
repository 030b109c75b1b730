"""End-to-end tests: real browsers, the real service, and what can be seen and heard in between."""
