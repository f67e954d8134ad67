"""What the tests that need torch share. Without torch each of them is skipped."""

try:
    import torch
except ImportError:
    pass
else:
    # The tensors are small: torch's threads would only wait for each other.
    torch.set_num_threads(1)
