"""timm's dispatch_clip_grad under patch(): random gradients, and a vision transformer on digits."""

import importlib.util
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
if importlib.util.find_spec("timm") is None:
    pytest.skip("timm is not installed", allow_module_level=True)
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

from fcos_model import import_torchvision  # noqa: E402

import_torchvision()  # timm does, and does not know the way around its missing operators

import timm  # noqa: E402
from timm.utils import NativeScaler, dispatch_clip_grad  # noqa: E402
from trees import leaves, random_tree, rng_of  # noqa: E402

import gradclip.torch  # noqa: E402


def parameters(seed):
    made = []
    rng = rng_of(seed)
    for leaf in leaves(random_tree(rng)):
        p = torch.zeros(leaf.shape, dtype=torch.float64, requires_grad=True)
        p.grad = torch.from_numpy(leaf.copy())
        made.append(p)
    return rng, made


def grads(listed):
    return torch.cat([p.grad.flatten() for p in listed])


@pytest.mark.parametrize("mode", ["norm", "value"])
@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, float("inf")])
@pytest.mark.parametrize("seed", range(10))
def test_dispatch_clip_grad(seed, norm_type, mode, compared):
    rng, theirs = parameters(seed)
    _, ours = parameters(seed)
    limit = rng.choice([0.01, 0.3, 2.0])
    dispatch_clip_grad(theirs, limit, mode, norm_type)
    with gradclip.torch.patch():
        dispatch_clip_grad(ours, limit, mode, norm_type)
    compared(f"dispatch_clip_grad(mode='{mode}')", grads(ours), grads(theirs), 1e-12, case=seed)


def test_training_on_digits(compared):
    """Its own scaler clips, as timm's training script has it."""
    from loops import data, same_training

    images, targets = data()

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.vit = timm.models.VisionTransformer(
                img_size=8,
                patch_size=4,
                in_chans=1,
                num_classes=10,
                embed_dim=24,
                depth=2,
                num_heads=2,
            ).double()

        def forward(self, x):
            return self.vit(x.view(-1, 1, 8, 8))

    def train(watch):
        net = Net()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        scaler = NativeScaler(device="cpu")
        for _ in range(6):
            for x, y in zip(images.split(64), targets.split(64)):
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(net(x), y)
                scaler(
                    loss, optimizer, clip_grad=1.0, clip_mode="norm", parameters=net.parameters()
                )
        return net

    what = "NativeScaler, vision transformer on digits"
    ours, _ = same_training(train, compared, what, least=0.6)
    clipped = [call.norm > 1.0 for call in ours.calls]
    assert 10 < sum(clipped)
    assert [call.has_written for call in ours.calls] == clipped
