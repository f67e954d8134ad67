"""mmengine's OptimWrapper on digits, with torch's functions and after patch()."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmengine")

from loops import data, network, same_training  # noqa: E402
from mmengine.optim import OptimWrapper  # noqa: E402

import gradclip.torch  # noqa: E402


@pytest.mark.parametrize("by_value", [False, True])
def test_optim_wrapper(by_value, compared):
    """It takes hold of the function when it is made: within patch(), or after it."""

    def train(watch):
        clip_grad = dict(type="value", clip_value=0.01) if by_value else dict(max_norm=0.5)
        net = network()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.3, momentum=0.9)
        wrapper = OptimWrapper(optimizer, clip_grad=clip_grad)
        images, targets = data()
        for _ in range(5):
            for x, y in zip(images.split(64), targets.split(64)):
                wrapper.update_params(torch.nn.functional.cross_entropy(net(x), y))
        return net

    name = "clip_grad_value_" if by_value else "clip_grad_norm_"
    ours, _ = same_training(train, compared, f"OptimWrapper, {name} on digits")
    assert {call.function for call in ours.calls} == {name}


def test_a_wrapper_made_before_the_patch_keeps_torchs_function():
    before = torch.nn.utils.clip_grad_norm_
    parameters = [torch.nn.Parameter(torch.ones(2))]
    wrapper = OptimWrapper(torch.optim.SGD(parameters, lr=0.1), clip_grad=dict(max_norm=1.0))
    with gradclip.torch.patch():
        assert wrapper.clip_func is before
        late = OptimWrapper(torch.optim.SGD(parameters, lr=0.1), clip_grad=dict(max_norm=1.0))
        assert late.clip_func is gradclip.torch.clip_grad_norm_
