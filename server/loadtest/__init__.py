"""Load tests of any running service: synthetic peers that check what they receive."""
