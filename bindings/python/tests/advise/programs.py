"""What programs print: a line of each, with the statement that prints it, and logs made of it.

`file` is in the program's own repository, `statement` what to look for there; `line` is what
comes out, shortened. The statements were compared with the sources (mmcv 1.7, NeMo 1.23 and 2.2, Lightning 2.6, Keras 3.15,
TRL 1.16, axolotl 0.19, MaxText of 2025, Ray 2.60, Transformers 5.24, fairseq 2 0.8, Composer 0.32, nanotron 0.4, PaddleNLP 2.8,
Stable-Baselines 2.9, torchtune 0.6, verl 0.9, TensorBoard 2.21, mlflow and neptune of PyPI), or with logs that people have
published. W&B's export is made by its site, whose source is not public: its form is from the site.

No norm of themselves print MAE, DeiT, icefall's train.py, timm, PaddleNLP, Stable-Baselines, Lightning's and Keras' bars,
Keras' CSVLogger, and NeMo 1's bar (its norm goes to TensorBoard): in their lines it is what users add. LLaMA-Factory's own
trainer_log.jsonl has none, and TRL and axolotl add to the record that Transformers' Trainer prints. From after clipping are
the norms of Composer and RLlib (grad_gnorm), where they clip.

A log is a run of EPOCHS epochs with a spike and a NaN that is stopped and resumed within the second
epoch: what was done again comes twice.
"""

from __future__ import annotations

import math
from typing import Callable, NamedTuple

EPOCHS, LENGTH, STOPPED, RESUMED = 3, 40, 60, 51
SPIKE, NAN = 30, 70  # steps, from 1


class Program(NamedTuple):
    """A program's log. In line: step, e and e0 (epoch from 1 and 0), i and i0 (step in it), n (the
    norm), o (that of the line before, which a bar still shows when it moves)."""

    name: str
    file: str
    statement: str
    line: str
    number: Callable[[float], str] = lambda x: f"{x:.4f}"
    head: str = ""
    epoch_begin: str = ""  # of those after the first
    epoch_end: str = ""
    numbered: bool = True

    def log(self, seed: int = 0) -> str:
        """The text of a run."""
        out = [self.head]
        before = None
        for step in [*range(1, STOPPED + 1), *range(RESUMED, EPOCHS * LENGTH + 1)]:
            e0, i0 = divmod(step - 1, LENGTH)
            values = {"step": step, "e": e0 + 1, "e0": e0, "i": i0 + 1, "i0": i0, "N": LENGTH}
            norm = self.number(norm_of(step, seed))
            values["o"], before = before or norm, norm
            if e0 and not i0:
                out.append(self.epoch_begin.format(n=norm, **values))
            out.append(self.line.format(n=norm, **values) + "\n")
            if i0 == LENGTH - 1:
                out.append(self.epoch_end.format(n=self.number(77.5), **values))
        return "".join(out)

    def norms(self, seed: int = 0) -> list[float]:
        """The norms that a reader must find."""
        steps = [*range(1, EPOCHS * LENGTH + 1)]
        if not self.numbered:
            steps = [*range(1, STOPPED + 1), *range(RESUMED, EPOCHS * LENGTH + 1)]
        return [_value(self.number(norm_of(step, seed))) for step in steps]


def norm_of(step: int, seed: int) -> float:
    """The norm of a step: eighths, which every format writes exactly; a spike and a NaN."""
    if step == SPIKE:
        return 12345.0
    return math.nan if step == NAN else 1.0 + ((step * 7 + seed * 3) % 16) / 8


def _value(text: str) -> float:
    text = text.replace(",", "").replace("np.float64(", "").rstrip(")").replace('"null"', "nan")
    return float(text[:-1]) * 1000 if text.endswith("K") else float(text)


def human(x: float) -> str:
    """12.3K"""
    return f"{x / 1000:.3g}K" if x >= 1000 else f"{x:.3g}"


def olmo(x: float) -> str:
    """12,345"""
    return f"{x:,.0f}" if x >= 100 else f"{x:.3f}"


def as_json(x: float) -> str:
    """NaN"""
    return "NaN" if math.isnan(x) else repr(x)


def espnet(x: float) -> str:
    """1.234e+04"""
    return f"{x:.3f}" if 1e-3 < abs(x) <= 1e3 else f"{x:.3e}"


def nemo(x: float) -> str:
    """12345"""
    return str(int(x)) if x.is_integer() else f"{x:.4}"


def ray(x: float) -> str:
    """"null\""""
    return '"null"' if math.isnan(x) else repr(x)


def bar(x: float) -> str:
    """1.880: tqdm's three digits, filled up to five characters by Lightning."""
    short = f"{x:.3g}".replace("e+0", "e+")
    text = short if len(short) < len(str(x)) else str(x)
    if "e" in text or not math.isfinite(x):
        return text + "." * (len(text) < 5 and math.isfinite(x))
    return (text if "." in text or len(text) >= 5 else text + ".").ljust(5, "0")


HF = "{{'loss': 2.5, 'grad_norm': {n}, 'learning_rate': 5e-05, 'epoch': 0.5}}"
STATE_LINE = '{{"loss": 2.5, "grad_norm": {n}, "learning_rate": 1e-05, "epoch": {e0}, "step": {step}}}'

PROGRAMS = [
    Program("OLMo", "olmo/train.py", 'name == "optim/total_grad_norm"',
            "[step={step}/120,epoch={e0}]\n    optim/total_grad_norm={n}\n    train/loss=2.5", olmo),
    Program("nanotron", "src/nanotron/trainer.py", 'LogItem("grad_norm", …, "human_format")',
            "[INFO|DP=0]: iteration: {step} / 120 | lm_loss: 2.3 | lr: 1e-05 | grad_norm: {n}", human),
    Program("Swin", "main.py", "grad_norm {norm_meter.val:.4f} ({norm_meter.avg:.4f})",
            "INFO Train: [{e0}/300][{i0}/{N}]\teta 0:10 lr 0.0007\tloss 6.5 (6.3)\tgrad_norm {n} (2.0)\tmem 9MB",
            epoch_end="INFO EPOCH {e0} training takes 0:10:00\n"),
    Program("MAE, BEiT, DeiT", "util/misc.py", "MetricLogger.log_every; BEiT: metric_logger.update(grad_norm=grad_norm)",
            "Epoch: [{e0}]  [ {i0}/{N}]  eta: 0:10:52  lr: 0.000710  loss: 6.9 (6.95)  grad_norm: {n} (2.0)  time: 0.6",
            epoch_end="Averaged stats: lr: 0.0007  loss: 6.9 (6.95)  grad_norm: 2.0 ({n})\n"),
    Program("NeMo Automodel", "nemo_automodel/recipes/llm/train_ft.py", "step {} | epoch {} | loss {:.4f} | grad_norm {:.4f} |",
            "step {step} | epoch {e0} | loss 2.5 | grad_norm {n} | lr 1.00e-05 | mem 9.00 GiB"),
    Program("Megatron-LM", "megatron/training/training.py", "grad norm: {:.3f} |",
            " iteration {step}/ 120 | learning rate: 1E-05 | lm loss: 2.5E+00 | grad norm: {n} | num zeros: 0"),
    Program("fairseq", "fairseq/logging/progress_bar.py", "train_inner",
            "| INFO | train_inner | epoch 001: {i} / {N} loss=9.4, num_updates={step}, lr=0.0001, gnorm={n}, clip=0",
            epoch_end="| INFO | train | epoch 001 | loss 9.1 | num_updates {step} | gnorm {n}\n"),
    Program("llm.c", "train_gpt2.cu", "| norm %6.4f (%+.2fz)|",
            "step {step:4d}/120 | loss 3.2 (+nanz)| norm {n} (+nanz)| lr 3.00e-04 | 44.57 ms"),
    Program("torchtitan", "torchtitan/components/metrics.py", "grad_norm: {grad_norm:7.4f}",
            "[titan] root - INFO - step: {step:2d}  loss:  8.1  grad_norm: {n}  memory: 10.5GiB(11%)"),
    Program("Transformers", "src/transformers/trainer_callback.py", "PrinterCallback", HF, repr, numbered=False),
    Program("TRL", "trl/trainer/grpo_trainer.py", "logs.update(metrics)",
            HF.replace("'epoch'", "'num_tokens': 1234.0, 'completions/clipped_ratio': 0.1, 'reward': 1.0, 'kl': 0.1, 'clip_ratio/low_mean': 0.0, 'epoch'"),
            repr, numbered=False),
    Program("axolotl", "src/axolotl/core/trainers/base.py", 'logs["ppl"] = round(math.exp(logs["loss"]), metric_ndigits)',
            HF.replace("'epoch'", "'ppl': 12.18249, 'memory/max_active (GiB)': 19.52, 'memory/device_reserved (GiB)': 22.1, 'epoch'"),
            repr, numbered=False),
    Program("Transformers 5", "src/transformers/trainer_callback.py", 'shallow_logs[k] = f"{v:.4g}"',
            HF.replace("{n}", "'{n}'").replace("2.5", "'2.5'").replace("5e-05", "'5e-05'"), lambda x: f"{x:.4g}", numbered=False),
    Program("LLaMA-Factory", "src/llamafactory/train/callbacks.py", "LogCallback: no norm; Transformers prints it", HF, repr, numbered=False),
    Program("ms-swift", "swift/trainers/callback.py", "append_to_jsonl(jsonl_path, logs)",
            '{{"loss": 2.5, "grad_norm": {n}, "learning_rate": 1e-05, "global_step/max_steps": "{step}/120"}}', as_json),
    Program("ms-swift's text", "swift/trainers/callback.py", "print(logs, flush=True)",
            "{{'loss': 2.5, 'grad_norm': {n}, 'learning_rate': 1e-05, 'global_step/max_steps': '{step}/120', 'percentage': '1.00%', 'elapsed_time': '1s'}}", repr),
    Program("Megatron-SWIFT", "swift/megatron/callbacks/print.py", "logs['iteration'] =",
            '{{"loss": 2.5, "grad_norm": {n}, "learning_rate": 1e-05, "iteration": "{step}/120"}}', as_json),
    Program("verl", "verl/utils/logger/aggregate_logger.py", "def concat_dict_to_str",
            "step:{step} - actor/pg_loss:0.01 - actor/grad_norm:{n} - critic/score/mean:0.5",
            lambda x: f"np.float64({x})" if x > 2 else repr(x)),
    Program("mmengine", "mmengine/runner/log_processor.py", "Epoch(train)",
            "mmengine - INFO - Epoch(train)  [{e}][ {i}/{N}]  lr: 2.0e-02  time: 0.05  grad_norm: {n}  loss: 1.5"),
    Program("mmdetection 2", "mmcv/runner/hooks/logger/text.py", "log_str = f'Epoch [{log_dict[\"epoch\"]}]'",
            "mmdet - INFO - Epoch [{e}][{i}/{N}]\tlr: 1.978e-03, eta: 9:24:01, time: 0.384, data_time: 0.053, memory: 3900, loss: 1.6500, grad_norm: {n}",
            epoch_end="mmdet - INFO - Epoch(val) [{e}][{N}]\tbbox_mAP: 0.1000, bbox_mAP_copypaste: 0.100 0.200\n"),
    Program("mmdetection 2's JSON", "mmcv/runner/hooks/logger/text.py", "mmcv.dump(json_log, f, file_format='json')",
            '{{"mode": "train", "epoch": {e}, "iter": {i}, "lr": 0.00198, "memory": 3900, "data_time": 0.053, "loss": 1.65, "grad_norm": {n}, "time": 0.384}}',
            as_json, head='{"env_info": "sys.platform: linux", "seed": 0, "exp_name": "fcos.py", "epoch": 1, "iter": 0}\n',
            epoch_end='{{"mode": "val", "epoch": {e}, "iter": {N}, "lr": 0.00198, "bbox_mAP": 0.1}}\n'),
    Program("MaxText", "MaxText/metric_logger.py", 'local_metrics_file.write(str(json.dumps(metrics_dict)) + "\\n")',
            '{{"learning/loss": 2.5, "learning/grad_norm": 1.0, "learning/raw_grad_norm": {n}, "learning/param_norm": 900.5,'
            ' "learning/current_learning_rate": 1e-05, "step": {step}.0, "run_name": "r"}}', as_json,
            epoch_end='{{"eval/total_loss": 2.6, "eval/avg_loss": 2.6, "step": {step}.0, "run_name": "r"}}\n'),
    Program("levanter", "src/levanter/tracker/json_logger.py", "self.logger.info(json.dumps(record))",
            '2025-01-01T00:00:00 - 0 - levanter.json_logger - json_logger.py:70 - INFO :: {{"tracker": "json_logger", "event": "log",'
            ' "step": {step}, "metrics": {{"train/loss": 2.5, "grad/norm/total": {n}}}}}', as_json,
            epoch_end="2025-01-01T00:00:00 - 0 - levanter.trainer - INFO :: saved a checkpoint\n"),
    Program("Composer, llm-foundry", "composer/loggers/console_logger.py", "def _get_progress_string",
            "[epoch={e}][batch={i}/{N}]:\n\t Train l2_norm/grad/global: {n}\n\t Train loss/train/total: 2.5"),
    Program("EasyLM", "EasyLM/models/llama/llama_train.py", "pprint.pformat(log_metrics)",
            "{{'accuracy': array(0.5, dtype=float32),\n 'gradient_norm': array({n}, dtype=float32),\n 'loss': array(2.5, dtype=float32),\n 'step': {step}}}\n",
            repr, numbered=False),
    Program("RLlib's policies", "rllib/utils/torch_utils.py", "grad_gnorm += min(global_norm, clip_value)",
            '{{"info": {{"learner": {{"default_policy": {{"learner_stats": {{"allreduce_latency": 0.0, "grad_gnorm": {n}, "cur_lr": 5e-05, "total_loss": 2.5}}}}}}}},'
            ' "timesteps_total": {step}, "training_iteration": {step}, "config": {{"lr": 0.1, "grad_clip": null}}}}', ray),
    Program("RLlib's learners", "rllib/core/learner/learner.py", 'key=(module_id, f"gradients_{optimizer_name}_global_norm")',
            '{{"learners": {{"default_policy": {{"total_loss": 2.5, "gradients_default_optimizer_global_norm": {n}, "default_optimizer_learning_rate": 5e-05}}}},'
            ' "training_iteration": {step}, "config": {{"lr": 0.1, "grad_clip": 40.0, "grad_clip_by": "global_norm"}}}}', ray),
    Program("nanochat", "scripts/base_train.py", 'print_grad_norm = f" grad norm: {grad_norm:.4f} |"',
            "step {step:05d}/00120 (10.00%) | loss: 2.5 | grad norm: {n} | lrm: 1.00 | dt: 44.57ms | tok/sec: 1,234"),
    Program("ESPnet", "espnet2/train/reporter.py", "batch: ",
            "[host] 2021-01-01 (trainer:732) INFO: {e}epoch:train:{i}-{i}batch: iter_time=0.1, loss=50.1, grad_norm={n}, loss_scale=1.000",
            espnet, epoch_end="[host] INFO: {e}epoch results: [train] iter_time=0.1, loss=50.1, grad_norm={n}, [valid] loss=50.2\n"),
    Program("icefall's optimizer", "egs/librispeech/ASR/zipformer/optim.py", "grad-norm quartiles",
            "WARNING [optim.py:478] (0/4) Clipping_scale=2.0, grad-norm quartiles 1.0e-01 2.0e-01 {n} 9.0e+05 9.1e+05, threshold=7.0e+00, percent-clipped=0.0",
            lambda x: f"{x:.3e}", numbered=False),
    Program("icefall's train.py", "egs/librispeech/ASR/zipformer/train.py", "batch {batch_idx}, loss[{loss_info}]",
            "INFO [train.py:900] (0/4) Epoch {e}, batch {i0}, loss[loss=0.32, over 7e3 frames. ], tot_loss[loss=0.4, over 1e6 frames. ],"
            " batch size: 48, lr: 1.47e-02, grad_norm: {n}"),
    Program("fairseq 2", "src/fairseq2/metrics/recorders/log.py", 'm = f"{title} Metrics (step {step_nr})"',
            "[INFO] fairseq2 - Train Metrics (step {step}) - NLL Loss: 2.5 | Gradient Norm: {n} | Learning Rate: 5e-05", lambda x: f"{x:g}"),
    Program("fairseq 2's JSON", "src/fairseq2/metrics/recorders/jsonl.py", "output[descriptor.display_name] = sanitize(value)",
            '{{"Time": "2025-01-01T00:00:00", "Step": {step}, "NLL Loss": 2.5, "Gradient Norm": {n}}}', as_json),
    Program("timm", "train.py", "f'Train: {epoch} [{update_idx:>4d}/{updates_per_epoch} '",
            "Train: {e0} [{i0:>4d}/{N} ( 10%)]  Loss: 6.95 (6.95)  Time: 0.5s, 200.0/s  LR: 1.000e-04  Data: 0.01 (0.01)  grad_norm: {n}"),
    Program("Stable-Baselines' tables", "stable_baselines3/common/logger.py", "class HumanOutputFormat",
            "-----\n| time/              |          |\n|    total_timesteps | {step}     |\n| train/             |          |\n"
            "|    grad_norm       | {n} |\n|    loss            | 2.5      |\n-----", lambda x: f"{x:<8.3g}"),
    Program("Stable-Baselines' progress.csv", "stable_baselines3/common/logger.py", "class CSVOutputFormat",
            "{step},{n},2.5", repr, head="time/total_timesteps,train/grad_norm,train/loss\n"),
    Program("NeMo 1", "nemo/collections/nlp/models/language_modeling/megatron_base_model.py", "self.log('grad_norm', grad_norm, rank_zero_only=True, batch_size=1)",
            "\rEpoch {e0}: :  10%|# | {i}/{N} [00:40<01:20, v_num=0, reduced_train_loss=2.500, global_step={step}.0, consumed_samples=512.0, grad_norm={n}]"
            "\rEpoch {e0}: :  10%|# | {i}/{N} [00:40<01:20, v_num=0, reduced_train_loss=2.500, global_step={step}.0, consumed_samples=512.0, grad_norm={n}]", bar),
    Program("Lightning's bar", "src/lightning/pytorch/callbacks/progress/tqdm_progress.py", "self.train_progress_bar.set_postfix(self.get_metrics(trainer, pl_module))",
            "\rEpoch {e0}:  10%|# | {i}/{N} [00:10<00:20, 9.00it/s, v_num=0, grad_2.0_norm_total={o}, train_loss_step=2.500]"
            "\rEpoch {e0}:  10%|# | {i}/{N} [00:10<00:20, 9.00it/s, v_num=0, grad_2.0_norm_total={n}, train_loss_step=2.500]", bar,
            epoch_begin="\rEpoch {e0}:   0%|  | 0/{N} [00:00<?, ?it/s, v_num=0, grad_2.0_norm_total={o}, train_loss_step=2.500]" * 2),
    Program("MLflow's table", "mlflow/tracking/client.py", "get_metric_history",
            "grad_norm,{n},1700000000000,{step}\nloss,2.5,1700000000000,{step}", repr, head="key,value,timestamp,step\n"),
    Program("torchtune", "torchtune/training/metric_logging.py", "Step {step} |",
            "Step {step} | loss:2.5 lr:1e-05 tokens_per_second_per_gpu:900.0 grad_norm:{n}"),
    Program("PaddleNLP", "paddlenlp/trainer/trainer_callback.py", '", ".join(f"{k}: {v}" for k, v in logs.items())',
            "[ INFO] - loss: 2.5, learning_rate: 1e-05, global_step: {step}, grad_norm: {n}, progress_or_epoch: 0.5"),
    Program("NeMo 2", "nemo/lightning/pytorch/callbacks/progress_printer.py", "def format_string",
            "Training epoch {e0}, iteration {i}/{N} | lr: 0.0001 | global_step: {step} | grad_norm: {n} | loss: 2.5", nemo),
    Program("Lightning's CSVLogger", "src/lightning/fabric/loggers/csv_logs.py", "metrics.csv",
            "{e0},{n},{step},2.5", repr, head="epoch,grad_2.0_norm_total,step,train_loss\n"),
    Program("Keras' CSVLogger", "keras/src/callbacks/csv_logger.py", 'self.keys.extend([f"val_{k}" for k in self.keys])',
            "{step},{n},2.5,NA,NA\r", repr, head="epoch,grad_norm,loss,val_grad_norm,val_loss\r\n"),
    Program("Keras' bar", "keras/src/utils/progbar.py", 'info += f" - {k}:"',
            "\r {i}/{N} \u2501\u2501\u2501 1s 12ms/step - accuracy: 0.5000 - grad_norm: {n} - loss: 2.5000",
            lambda x: f"{x:.4f}" if abs(x) > 1e-3 else f"{x:.4e}",
            head="Epoch 1/3\n", epoch_begin="Epoch {e}/3\n"),
    Program("W&B's export", "wandb", "Export CSV",
            '"{step}","{n}","{n}","{n}"', repr, head='"Step","a - train/grad_norm","a - train/grad_norm__MIN","a - train/grad_norm__MAX"\n'),
    Program("TensorBoard's download", "tensorboard/plugins/scalar/scalars_plugin.py", "Wall time",
            "1700000000.5,{step},{n}", repr, head="Wall time,Step,Value\n"),
    Program("Neptune's export", "neptune", "fetch_values",
            "{step},{n},2025-01-01 00:00:00", repr, head="step,value,timestamp\n"),
    Program("gradclip.Monitor", "bindings/python/src/gradclip", "Monitor",
            "{step},{n},1.0,0.1,2.5,0,,", repr, head="step,grad_norm,clip_coef,learning_rate,loss,nonfinite_count,first_tensor,first_element\n"),
]  # fmt: skip
