"""The gallery of built-in targets: who is in it, the code that draws them, and their prepared crops."""
