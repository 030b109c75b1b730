"""Errors that are the user's to mend."""


class UserError(Exception):
    """Something outside the program is in the way; the message says in a sentence what, and what to do."""
