"""Tests of the gallery of built-in targets."""
