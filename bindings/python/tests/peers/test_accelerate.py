"""accelerate's loop on digits, with torch's functions and under patch()."""

import pytest

torch = pytest.importorskip("torch")
accelerate = pytest.importorskip("accelerate")

from loops import data, network, same_training  # noqa: E402


@pytest.mark.parametrize("by_value", [False, True])
def test_accelerator(by_value, compared):
    def train(watch):
        accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
        net = network()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.3, momentum=0.9)
        batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data()), 32)
        net, optimizer, batches = accelerator.prepare(net, optimizer, batches)
        for _ in range(5):
            for x, y in batches:
                with accelerator.accumulate(net):
                    accelerator.backward(torch.nn.functional.cross_entropy(net(x), y))
                    if accelerator.sync_gradients:
                        if by_value:
                            accelerator.clip_grad_value_(net.parameters(), 0.01)
                        else:
                            accelerator.clip_grad_norm_(net.parameters(), 0.5)
                    optimizer.step()
                    optimizer.zero_grad()
        return net

    name = "clip_grad_value_" if by_value else "clip_grad_norm_"
    ours, _ = same_training(train, compared, f"Accelerator.{name} on digits")
    assert {call.function for call in ours.calls} == {name}
    if not by_value:
        clipped = [call.norm > 0.5 for call in ours.calls]
        assert 10 < sum(clipped) < len(clipped)
        assert [call.has_written for call in ours.calls] == clipped
