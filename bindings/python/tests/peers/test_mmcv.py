"""mmcv 1's EpochBasedRunner and OptimizerHook on digits, with torch's functions and under patch()."""

import logging
import sys
import types
import warnings

import pytest

torch = pytest.importorskip("torch")

# mmcv 1 looks into torchvision for the addresses of its pretrained networks, and for nothing else.
sys.modules.setdefault("torchvision", types.ModuleType("torchvision"))
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what version 2 no longer has: the runner
    pytest.importorskip("mmcv.runner")
    from mmcv.runner import EpochBasedRunner, OptimizerHook

from loops import data, network, same_training  # noqa: E402


class Classifier(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = network()

    def train_step(self, batch, optimizer):
        images, targets = batch
        loss = torch.nn.functional.cross_entropy(self.net(images), targets)
        return {"loss": loss, "log_vars": {"loss": loss.item()}, "num_samples": len(images)}


def test_optimizer_hook(compared, tmp_path):
    def train(watch):
        model = Classifier()
        images, targets = data()
        runner = EpochBasedRunner(
            model,
            optimizer=torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9),
            work_dir=str(tmp_path),
            logger=logging.getLogger("mmcv"),
            max_epochs=5,
        )
        hook = OptimizerHook(grad_clip=dict(max_norm=0.5, norm_type=2))
        runner.register_training_hooks(lr_config=dict(policy="fixed"), optimizer_config=hook)
        runner.run([list(zip(images.split(64), targets.split(64)))], [("train", 1)])
        # It logs what the function returned.
        assert runner.log_buffer.val_history["grad_norm"][-1] == watch.norms()[-1]
        return model.net

    ours, _ = same_training(train, compared, "OptimizerHook, clip_grad_norm_ on digits")
    assert {call.function for call in ours.calls} == {"clip_grad_norm_"}
    assert any(call.has_written for call in ours.calls)
