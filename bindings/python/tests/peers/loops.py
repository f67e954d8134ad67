"""What the training loops of torch's libraries share: a network, and who clipped its gradients.

Each loop runs twice, on torch's functions and under gradclip.torch.patch(), in float64, where
torch's norms are good to many digits. Then all norms and all parameters must be the same, to
a few units in the last place of each step.
"""

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
from digits import digits

import gradclip.torch

torch.set_num_threads(1)  # for networks this small more would only wait for each other
SAME = 1e-8  # of norms and parameters, after some hundred steps


def data():
    images, targets = digits()
    return torch.from_numpy(images), torch.from_numpy(targets)


def network():
    torch.manual_seed(0)
    layers = torch.nn.Linear(64, 32), torch.nn.Tanh(), torch.nn.Linear(32, 10)
    return torch.nn.Sequential(*layers).double()


def accuracy(net):
    images, targets = data()
    with torch.no_grad():
        return (net(images).argmax(1) == targets).double().mean().item()


@dataclass
class Call:
    function: str
    limit: float
    norm: float  # 0 for clip_grad_value_
    gradients: int
    has_written: bool  # as torch's version counters tell


@dataclass
class Watch:
    patched: bool
    calls: list = field(default_factory=list)

    def norms(self):
        return [call.norm for call in self.calls]


@contextmanager
def watched(patched):
    """Notes the calls of torch.nn.utils' functions, which are gradclip's if patched."""
    watch = Watch(patched)
    with gradclip.torch.patch() if patched else nullcontext():
        kept = []
        for place in (torch.nn.utils, torch.nn.utils.clip_grad):
            for name in ("clip_grad_norm_", "clip_grad_value_"):
                function = getattr(place, name)
                assert (function is getattr(gradclip.torch, name)) == patched
                kept.append((place, name, function))
                setattr(place, name, _noting(watch, name, function))
        try:
            yield watch
        finally:
            for place, name, function in kept:
                setattr(place, name, function)


def _noting(watch, name, function):
    def call(parameters, limit=None, *arguments, **options):
        limit = options.pop("clip_value", options.pop("max_norm", limit))
        parameters = list(parameters)
        grads = [p.grad for p in parameters if p.grad is not None]
        before = [grad._version for grad in grads]
        norm = function(parameters, limit, *arguments, **options)
        has_written = [grad._version for grad in grads] != before
        total = 0.0 if norm is None else float(norm)
        watch.calls.append(Call(name, float(limit), total, len(grads), has_written))
        return norm

    return call


def same_training(train, compared, what, least=0.85):
    """Trains by train(watch), which returns the network, with torch's functions and with ours; the
    network must then know the share least of the digits."""
    nets, watches = [], []
    for patched in (False, True):
        with watched(patched) as watch:
            nets.append(train(watch))
        watches.append(watch)
    theirs, ours = watches
    assert len(ours.calls) == len(theirs.calls) > 50
    assert all(call.gradients for call in ours.calls)
    compared(f"{what}: the norm of each step", ours.norms(), theirs.norms(), SAME)
    values = [torch.cat([p.detach().flatten() for p in net.parameters()]) for net in nets]
    # As a vector: of a parameter that hardly matters most digits are noise.
    apart = (values[1] - values[0]).norm() / values[0].norm()
    compared(f"{what}: parameters after {len(ours.calls)} steps", 1 + apart, 1.0, SAME)
    assert accuracy(nets[1]) > least
    return ours, theirs
