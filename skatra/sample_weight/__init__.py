"""sample_weight."""
