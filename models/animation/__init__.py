"""Moving pictures of a target, frame by frame: out of templates or out of a driver's clip."""
