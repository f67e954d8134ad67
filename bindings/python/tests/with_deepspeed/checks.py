"""One engine of DeepSpeed on each rank, the optimizer offloaded, with and without the patch.

    torchrun --nproc-per-node N checks.py

Every check is made on every rank; the first that fails ends the run."""

import math
import os
import time

os.environ["DS_ACCELERATOR"] = "cpu"
import deepspeed  # noqa: E402
import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
from deepspeed.runtime.zero.stage_1_and_2 import DeepSpeedZeroOptimizer  # noqa: E402

import gradclip.deepspeed  # noqa: E402


def engine(clipping, stage=2, width=64, dtype="bf16"):
    torch.manual_seed(1)
    model = torch.nn.Sequential(
        torch.nn.Linear(width, 2 * width), torch.nn.Tanh(), torch.nn.Linear(2 * width, width)
    )
    made, *_ = deepspeed.initialize(
        model=model,
        model_parameters=model.parameters(),
        config={
            "train_micro_batch_size_per_gpu": 4,
            "gradient_accumulation_steps": 1,
            "gradient_clipping": clipping,
            "optimizer": {"type": "Adam", "params": {"lr": 1e-2, "torch_adam": True}},
            "bf16": {"enabled": dtype == "bf16", "check_grad_overflow": dtype == "bf16"},
            "zero_optimization": {"stage": stage, "offload_optimizer": {"device": "cpu"}},
            "zero_force_ds_cpu_optimizer": False,
        },
    )
    return made


def backward(made, scale=1.0, poison=False):
    rank = dist.get_rank()
    torch.manual_seed(100 + rank)
    kind = next(made.module.parameters()).dtype
    batch = torch.randn(4, made.module[0].in_features).to(kind)
    if poison and rank == dist.get_world_size() - 1:
        batch[0, 0] = math.nan
    made.backward(made(batch).float().pow(2).mean() * scale)


def true_norm(made):
    """The norm over all ranks in float64: every rank has a partition of the flat gradients."""
    optimizer = made.optimizer
    optimizer._wait_for_offload_copies()
    total = torch.zeros(1, dtype=torch.float64)
    for partition in optimizer.single_partition_of_fp32_groups:
        total += partition.grad.double().square().sum()
    dist.all_reduce(total)
    return math.sqrt(total)


def norms(made, scale):
    """DeepSpeed's norm, ours and the true one for the same gradients; then the step is made."""
    backward(made, scale)
    expected = true_norm(made)
    theirs = float(made.optimizer.scaled_global_norm())
    with gradclip.deepspeed.patch():
        ours = float(made.optimizer.scaled_global_norm())
        made.step()
    return theirs, ours, expected


def weights(made):
    return torch.cat([p.detach().float().view(-1) for p in made.module.parameters()])


def check_the_norm_is_the_true_one():
    for stage in (1, 2):
        for dtype in ("bf16", "fp32"):
            made = engine(1.0, stage, dtype=dtype)
            for scale in (1.0, 100.0, 1e-3):
                theirs, ours, expected = norms(made, scale)
                assert abs(ours / expected - 1) < 1e-14, (stage, dtype, scale, ours, expected)
                assert abs(theirs / expected - 1) < 1e-5


def trained(patched, clipping, scale, steps=5):
    made = engine(clipping)
    undo = gradclip.deepspeed.patch() if patched else None
    for _ in range(steps):
        backward(made, scale)
        made.step()
    if undo:
        undo.undo()
    return weights(made), float(made.get_global_grad_norm())


def check_training_is_the_same():
    for clipping, scale in ((0.1, 10.0), (1e6, 1.0)):
        ours, our_norm = trained(True, clipping, scale)
        theirs, their_norm = trained(False, clipping, scale)
        assert torch.allclose(ours, theirs, rtol=1e-2, atol=1e-4), (ours - theirs).abs().max()
        assert abs(our_norm / their_norm - 1) < 1e-2


def multiplications(body):
    """How many tensors are multiplied in place while body runs."""
    count, original = [], torch.Tensor.mul_

    def counting(self, *arguments):
        count.append(self.numel())
        return original(self, *arguments)

    torch.Tensor.mul_ = counting
    try:
        body()
    finally:
        torch.Tensor.mul_ = original
    return len(count)


def check_nothing_is_written_at_a_factor_of_1():
    made = engine(1e6)
    backward(made)
    optimizer = made.optimizer
    grads = [p.grad for p in optimizer.single_partition_of_fp32_groups]
    norm = optimizer.scaled_global_norm()
    assert multiplications(lambda: optimizer.unscale_and_clip_grads(grads, norm)) == len(grads)
    with gradclip.deepspeed.patch():
        norm = optimizer.scaled_global_norm()
        assert multiplications(lambda: optimizer.unscale_and_clip_grads(grads, norm)) == 0
        optimizer.clip_grad = float(norm) / 2
        assert multiplications(lambda: optimizer.unscale_and_clip_grads(grads, norm)) == len(grads)
    assert abs(true_norm(made) / float(norm) - 0.5) < 1e-5


def check_the_loss_scale_is_taken_out():
    for clipping in (0.5, 0.0, 1e6):
        written = []
        for patched in (True, False):
            made = engine(clipping)
            made.optimizer.custom_loss_scaler = True
            made.optimizer.external_loss_scale = 8.0
            undo = gradclip.deepspeed.patch() if patched else None
            backward(made, 8.0)
            norm = made.optimizer.scaled_global_norm()
            grads = [p.grad for p in made.optimizer.single_partition_of_fp32_groups]
            made.optimizer.unscale_and_clip_grads(grads, norm)
            written.append(torch.cat(grads))
            if undo:
                undo.undo()
        assert torch.allclose(*written, rtol=1e-6, atol=0), clipping


def check_a_nan_is_never_stepped_over():
    for patched in (True, False):
        made = engine(1.0)
        undo = gradclip.deepspeed.patch() if patched else None
        before = weights(made)
        backward(made, poison=True)
        made.step()
        assert torch.equal(weights(made), before) and torch.isfinite(weights(made)).all()
        if undo:
            undo.undo()


def check_it_is_taken_back_and_refused():
    before = DeepSpeedZeroOptimizer.scaled_global_norm
    first, second = gradclip.deepspeed.patch(), gradclip.deepspeed.patch()
    second.undo()
    first.undo()
    assert DeepSpeedZeroOptimizer.scaled_global_norm is before
    known = gradclip.deepspeed.VERSIONS
    gradclip.deepspeed.VERSIONS = ("0.0.1",)
    try:
        gradclip.deepspeed.patch()
    except ImportError as error:
        assert f"deepspeed {deepspeed.__version__.partition('+')[0]}" in str(error), error
        assert DeepSpeedZeroOptimizer.scaled_global_norm is before
    else:
        raise AssertionError("another version was not refused")
    gradclip.deepspeed.VERSIONS = known


def fails_on_every_rank(made, told_here):
    """The step fails with this rank's message, and nothing was written."""
    before = weights(made)
    made.optimizer._wait_for_offload_copies()
    grads = [p.grad.clone() for p in made.optimizer.single_partition_of_fp32_groups]
    try:
        made.step()
        told = "nothing"
    except (RuntimeError, TypeError) as error:
        told = str(error)
    assert told_here in told, told
    after = [p.grad for p in made.optimizer.single_partition_of_fp32_groups]
    assert all(map(torch.equal, after, grads)) and torch.equal(weights(made), before)


def check_a_rank_without_the_patch_ends_the_step_on_every_rank():
    ranks = dist.get_world_size()
    without = dist.get_rank() == ranks - 1
    for scale in (1.0, 1e15, 1e17) if ranks > 1 else ():
        made = engine(1.0, dtype="fp32")
        undo = None if without else gradclip.deepspeed.patch()
        backward(made, scale)
        count = f"{ranks - 1} of {ranks} ranks"
        fails_on_every_rank(made, "not complex" if without else f"was called on {count}")
        if undo:
            undo.undo()


def check_what_is_undone_before_the_step_is_told():
    made = engine(1.0)
    with gradclip.deepspeed.patch():
        backward(made)
    fails_on_every_rank(made, "was undone between the backward pass and the step")


def measure():
    """What norms and unscaling take of a step at a factor of 1, with and without (rank 0 prints)."""
    made = engine(1e9, width=int(os.environ.get("WIDTH", 2000)))
    optimizer = made.optimizer
    times = {"theirs": [], "ours": []}
    for turn in range(2 * 8):
        name = ("theirs", "ours")[turn % 2]
        undo = gradclip.deepspeed.patch() if name == "ours" else None
        spent = Spent(optimizer)
        backward(made)
        optimizer._wait_for_offload_copies()
        optimizer.scaled_global_norm()
        optimizer.unscale_and_clip_grads(
            [p.grad for p in optimizer.single_partition_of_fp32_groups], torch.tensor(1.0)
        )
        if turn > 1:
            times[name].append(spent.seconds)
        spent.stop()
        if undo:
            undo.undo()
        optimizer.zero_grad()
        optimizer.reset_cpu_buffers()
    middle = {name: sorted(all_)[len(all_) // 2] * 1e3 for name, all_ in times.items()}
    elements = sum(p.numel() for p in made.module.parameters())
    if dist.get_rank() == 0:
        print(
            f"norms and unscaling of {elements / 1e6:.1f}M gradients, {dist.get_world_size()} ranks, factor 1: "
            f"DeepSpeed {middle['theirs']:.2f} ms, gradclip {middle['ours']:.2f} ms a step (medians of 7)"
        )


class Spent:
    """The seconds that go into the methods that clipping is made of."""

    NAMES = (
        "set_norm_for_param_grad",
        "set_norm_for_param_grad_in_gpu",
        "scaled_global_norm",
        "unscale_and_clip_grads",
    )

    def __init__(self, optimizer):
        self.seconds, self.optimizer = 0.0, optimizer
        for name in self.NAMES:
            setattr(optimizer, name, self.timed(getattr(optimizer, name)))

    def timed(self, method):
        def call(*arguments):
            start = time.perf_counter()
            try:
                return method(*arguments)
            finally:
                self.seconds += time.perf_counter() - start

        return call

    def stop(self):
        for name in self.NAMES:
            delattr(self.optimizer, name)


if __name__ == "__main__":
    deepspeed.init_distributed("gloo")
    for name, check in list(globals().items()):
        if name.startswith("check_"):
            check()
            if dist.get_rank() == 0:
                print("ok", name[6:].replace("_", " "))
    measure()
    dist.destroy_process_group()
