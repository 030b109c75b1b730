"""The audit log: who did what, when, behind which target, in which room; never a picture or a text."""
