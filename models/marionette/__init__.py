"""The patent's generator: driver encoder, target encoder, image attention, decoder (FIG. 4, 8-10)."""
