"""Benchmarks: what this machine holds, measured through the real service."""
