"""The inference process: landmarks, retargeting and generation, fed through shared memory."""
