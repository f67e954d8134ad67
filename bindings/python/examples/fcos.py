"""Which max_norm? FCOS, whose loss became NaN, from the first run to the one that trains.

    python fcos.py            # the whole story, in three runs of 300 steps
    python fcos.py --quick    # a pilot of 100 steps, runs of 60: about a minute

1. A pilot at a small learning rate, without clipping: its log is what the advice is from.
2. A hundred times that rate, without clipping: the run is lost, and the Monitor says where
   that began.
3. gradclip.advise on the pilot's log: which max_norm for the larger rate?
4. The larger rate again, with that max_norm.

"Trains" means: the mean loss of the last sixth of the steps is at most 1.15 times the
pilot's in these steps. The status is 0 if run 2 did not and run 4 did. Needs torch,
torchvision and NumPy; the model and the images are made in fcos_model.py. All seeds,
rates and thresholds: max_norm_rule.py --task fcos.
"""

from __future__ import annotations

import argparse
import math
import statistics
import warnings
from pathlib import Path

import gradclip
import torch
from fcos_model import batches, fcos
from gradclip.torch import Monitor

PILOT_RATE = 0.002
NEXT_RATE = 0.2
AS_FAR = 1.15


def train(seed: int, rate: float, max_norm: float, steps: int, log: Path) -> Monitor:
    """Trains until the steps are over or a gradient is not finite."""
    torch.manual_seed(seed)
    model = fcos().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    log.unlink(missing_ok=True)  # or the Monitor would go on with it
    with Monitor(model, max_norm, optimizer=optimizer, log=log) as monitor:
        for step, (images, targets) in zip(range(1, steps + 1), batches(seed)):
            loss = sum(model(images, targets).values())
            optimizer.zero_grad()
            loss.backward()
            done = monitor.clip_(loss=loss)
            if done.skip:
                break
            optimizer.step()
            if step == 1 or step % (steps // 6) == 0:
                print(
                    f"  step {step:3}  loss {done.loss:<8.3f} norm {done:<8.3g}"
                    f" clip_coef {done.clip_coef:.2g}",
                    flush=True,
                )
    return monitor


def final_loss(monitor: Monitor, steps: int) -> float:
    """The mean over the last sixth of so many steps; NaN if the run ended before."""
    losses = monitor.history["loss"]
    if monitor.diagnosis is not None:
        return math.nan
    return statistics.fmean(losses[steps - steps // 6 : steps])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="60 steps a run, not 300")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--logs", type=Path, default=Path("build/fcos"), help="where logs go")
    arguments = parser.parse_args()
    steps, seed = (60 if arguments.quick else 300), arguments.seed
    arguments.logs.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    # What the Monitor has to say is printed below, not warned of.
    warnings.simplefilter("ignore", gradclip.MonitorWarning)

    pilot_steps = max(steps, 100)  # the least that advice can be from
    print(f"1. A pilot: learning rate {PILOT_RATE}, no clipping, {pilot_steps} steps")
    pilot_log = arguments.logs / "pilot.csv"
    pilot = train(seed, PILOT_RATE, math.inf, pilot_steps, pilot_log)
    reached = final_loss(pilot, steps)
    print(f"  loss by step {steps}: {reached:.2f}, what the runs below have to reach")

    print(f"\n2. The rate that is wanted: {NEXT_RATE}, no clipping")
    lost = train(seed, NEXT_RATE, math.inf, steps, arguments.logs / "lost.csv")
    if lost.diagnosis is not None:
        print("  The Monitor says:")
        print("  " + str(lost.diagnosis).replace("\n", "\n  "))
    else:
        print(f"  loss by step {steps}: {final_loss(lost, steps):.2f}")

    print(f"\n3. gradclip advise {pilot_log} --next-lr {NEXT_RATE} --optimizer sgd\n")
    advice = pilot.advise(next_lr=NEXT_RATE, optimizer="sgd")
    print(advice)
    max_norm = advice.max_norm
    if max_norm is None:
        raise SystemExit("the pilot's log gives no max_norm for that rate")

    print(f"\n4. Learning rate {NEXT_RATE}, max_norm {max_norm:g}")
    saved = train(seed, NEXT_RATE, max_norm, steps, arguments.logs / "saved.csv")
    print(f"  {saved.clipped} of {len(saved.history)} steps were clipped")

    print(f"\nLoss by step {steps} (trains: at most {AS_FAR} times the pilot's):")
    losses = {
        f"pilot, rate {PILOT_RATE}": reached,
        f"rate {NEXT_RATE}, no clipping": final_loss(lost, steps),
        f"rate {NEXT_RATE}, max_norm {max_norm:g}": final_loss(saved, steps),
    }
    trains = [loss <= AS_FAR * reached for loss in losses.values()]
    for (name, loss), does in zip(losses.items(), trains):
        print(f"  {name:<26} {loss:5.2f}  {'trains' if does else 'lost'}")
    return 0 if trains == [True, False, True] else 1


if __name__ == "__main__":
    raise SystemExit(main())
