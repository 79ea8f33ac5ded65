"""ECC: an entropy-constrained neural speech codec, and the study around it."""
