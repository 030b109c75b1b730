"""Tests of targets: the store, decoding and preparing photos."""
