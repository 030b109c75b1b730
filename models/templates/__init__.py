"""Expression templates: named expression sequences that any target can show ([0195]-[0245])."""
