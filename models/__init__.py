"""Everything that learns or computes on faces. Knows no network I/O."""
