"""faults.py: a rank goes away in the middle of a call of gradclip.torch.distributed.

The others get what torch.distributed reports, within a bounded time, and their gradients
are as they were; or, if it went away after the last message, clipped as a whole.
"""

import datetime
import os
import signal
import subprocess
import sys
import tempfile
import time

RANKS, VICTIM, LIMIT = 3, 1, 60.0  # seconds, with the import of torch
WAYS = {
    "exit": 2.0,  # norm_type: before the only message
    "kill": 2.0,
    "kill-second": 3.0,  # between the first message and the second
    "kill-after": 2.0,  # after it, before its own gradients are written
}


def rank(way, number, store):
    import torch
    import torch.distributed as dist

    from gradclip._native import ffi
    from gradclip.torch.distributed import clip_grad_norm_

    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=number,
        world_size=RANKS,
        timeout=datetime.timedelta(seconds=20),
    )
    parameters = [torch.nn.Parameter(torch.zeros(100_000)) for _ in range(20)]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    dist.barrier()

    def go_away(*arguments, **keywords):
        if way == "exit":
            os._exit(3)
        os.kill(os.getpid(), signal.SIGKILL)

    if number == VICTIM:
        if way in ("exit", "kill"):
            dist.all_reduce = go_away
        elif way == "kill-second":
            dist.all_gather = go_away
        else:
            ffi.gradclip_accumulator_clip = go_away
    begin = time.monotonic()
    try:
        clip_grad_norm_(parameters, 1.0, WAYS[way], group=dist.group.WORLD)
        outcome, expected = "clipped", parameters[0].grad[0].item()
        assert 0 < expected < 1
    except RuntimeError as error:
        expected = 1
        outcome = f"RuntimeError after {time.monotonic() - begin:.1f} s: {str(error).splitlines()[0][:100]}"
    for parameter in parameters:
        assert (parameter.grad == expected).all(), "half scaled"
    print(f"{way}, rank {number}: {outcome}", flush=True)
    os._exit(0)  # the process group cannot be taken down in good order any more


def main():
    failed = 0
    for way in WAYS:
        with tempfile.TemporaryDirectory() as folder:
            begin = time.monotonic()
            ranks = [
                subprocess.Popen(
                    [sys.executable, __file__, way, str(n), f"{folder}/store"],
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for n in range(RANKS)
            ]
            for n, process in enumerate(ranks):
                try:
                    output, _ = process.communicate(
                        timeout=max(1.0, LIMIT - (time.monotonic() - begin))
                    )
                except subprocess.TimeoutExpired:
                    process.kill()
                    output = (
                        process.communicate()[0]
                        + f"{way}, rank {n}: still waiting after {LIMIT} s\n"
                    )
                print(output, end="")
                if n == VICTIM:
                    good = process.returncode == (3 if way == "exit" else -signal.SIGKILL)
                else:
                    good = (
                        process.returncode == 0
                        and ("clipped" if way == "kill-after" else "RuntimeError") in output
                    )
                if not good:
                    print(f"FAILED: {way}, rank {n} ended with {process.returncode}")
                    failed += 1
    print(f"faults: {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(rank(sys.argv[1], int(sys.argv[2]), sys.argv[3]) if len(sys.argv) == 4 else main())
