"""The Trainer of transformers on digits, with torch's functions and under patch()."""

import math

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")
transformers = pytest.importorskip("transformers")

from loops import accuracy, data, network, same_training, watched  # noqa: E402


class Classifier(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x, labels=None):
        logits = self.net(x)
        if labels is None:
            return logits
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}


def trainer(directory, max_grad_norm, net=None):
    examples = [{"x": x, "labels": y} for x, y in zip(*data())]
    arguments = transformers.TrainingArguments(
        output_dir=str(directory),
        max_grad_norm=max_grad_norm,
        num_train_epochs=5,
        per_device_train_batch_size=64,
        learning_rate=0.01,
        lr_scheduler_type="constant",
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        log_level="error",
        seed=1,
    )
    return transformers.Trainer(net or Classifier(), arguments, train_dataset=examples)


def test_trainer(tmp_path, compared):
    logged = []

    def train(watch):
        made = trainer(tmp_path, 0.3)
        made.train()
        logged.append([line["grad_norm"] for line in made.state.log_history if "grad_norm" in line])
        return made.model

    ours, _ = same_training(train, compared, "Trainer(max_grad_norm=0.3) on digits")
    clipped = [call.norm > 0.3 for call in ours.calls]
    assert 10 < sum(clipped) < len(clipped)
    assert [call.has_written for call in ours.calls] == clipped
    compared("Trainer: the grad_norm that it logs", logged[1], ours.norms(), 1e-6)


def test_max_grad_norm_0_only_logs_and_writes_nothing(tmp_path, finding):
    """The Trainer then clips to infinity in every step, which makes torch multiply by 1."""
    for patched in (False, True):
        with watched(patched) as watch:
            made = trainer(tmp_path, 0.0)
            made.train()
        assert len(watch.calls) > 50 and accuracy(made.model) > 0.85
        assert {call.limit for call in watch.calls} == {math.inf}
        assert all(call.norm > 0 for call in watch.calls)
        assert [call.has_written for call in watch.calls] == [not patched] * len(watch.calls)
    finding(
        "Trainer(max_grad_norm=0) calls clip_grad_norm_ with infinity in every step, to log the "
        "norm: torch then writes all gradients, gradclip none"
    )
