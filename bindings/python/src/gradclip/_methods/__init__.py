"""What is done to gradients, once, for arrays and torch."""
