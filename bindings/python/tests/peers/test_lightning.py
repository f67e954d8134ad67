"""Lightning's Trainer on digits, with torch's functions and under patch()."""

import pytest

torch = pytest.importorskip("torch")
lightning = pytest.importorskip("lightning")

from loops import data, network, same_training  # noqa: E402


class Classifier(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, index):
        x, y = batch
        return torch.nn.functional.cross_entropy(self(x), y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.3, momentum=0.9)


def trainer_with(**options):
    def train(watch):
        batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data()), 64)
        trainer = lightning.Trainer(
            max_epochs=5,
            accelerator="cpu",
            devices=1,
            precision="64-true",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **options,
        )
        net = Classifier()
        trainer.fit(net, batches)
        return net

    return train


def test_gradient_clip_val(compared):
    ours, _ = same_training(
        trainer_with(gradient_clip_val=0.5), compared, "Trainer(gradient_clip_val=0.5) on digits"
    )
    clipped = [call.norm > 0.5 for call in ours.calls]
    assert 10 < sum(clipped) < len(clipped)
    assert {call.function for call in ours.calls} == {"clip_grad_norm_"}
    assert [call.has_written for call in ours.calls] == clipped


def test_by_value_and_accumulated_gradients(compared):
    train = trainer_with(
        gradient_clip_val=0.01, gradient_clip_algorithm="value", accumulate_grad_batches=2
    )
    ours, _ = same_training(train, compared, "gradient_clip_algorithm='value' on digits")
    assert {(call.function, call.limit) for call in ours.calls} == {("clip_grad_value_", 0.01)}
