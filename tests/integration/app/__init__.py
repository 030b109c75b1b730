"""Tests of the web application as browsers use it."""
