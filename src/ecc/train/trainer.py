"""Rate-distortion training that can be killed at any moment and resumed to the same weights.

Everything random in a step (crops, quantization noise) is drawn from (seed, step, rank) alone, so
a checkpoint needs the step, the weights, their average and the optimizer, and no generator state.
"""

import math
import os
import shutil
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
from dvclive import Live
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from ecc.files import atomic_path
from ecc.model.codec import ECC
from ecc.model.config import CodecConfig
from ecc.model.weights import save_model
from ecc.train.config import TrainConfig
from ecc.train.crops import Crops
from ecc.train.loss import Distortion


class TrainingDivergedError(Exception):
    """The loss is no longer a number."""


@dataclass(frozen=True)
class Run:
    """What one training reads and writes.

    `identity` names everything that the weights follow from (parameters, corpus, code); a
    checkpoint of another identity is not resumed.
    """

    name: str
    codec: CodecConfig
    train: TrainConfig
    lmbda: float
    manifest: Path
    speech: Path
    checkpoints: Path
    logs: Path
    weights: Path
    identity: str


def train(run: Run) -> None:
    """Train a model with loss D + R / lambda (the minimiser of R + lambda D), R in kbit/s.

    Under torchrun each process takes its own crops and gradients are averaged; the first process
    alone validates, logs and writes.

    Raises:
        TrainingDivergedError: the loss became NaN or infinite; the last checkpoint stands.
        ValueError: the manifest has no training or validation speech.
    """
    config = run.train
    world, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    if world > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        _train(run, config, device, world, rank)
    finally:
        if world > 1:
            dist.destroy_process_group()


def _train(run: Run, config: TrainConfig, device: torch.device, world: int, rank: int) -> None:
    torch.manual_seed(config.seed)
    codec = ECC(run.codec).to(device)
    samples = config.crop.frames * codec.transform.samples_per_frame
    if samples % codec.granule:
        raise ValueError("train.crop.frames must be a multiple of codec.entropy.z_stride")
    distortion = Distortion(config.loss).to(device)
    average = AveragedModel(codec, multi_avg_fn=partial(_average, config.ema))
    optimizer = torch.optim.Adam(
        (p for p in codec.parameters() if p.requires_grad), lr=0.0, betas=(0.9, 0.99)
    )
    manifest = pd.read_csv(run.manifest, keep_default_na=False)
    crops = Crops(manifest, run.speech, "train", config.crop, samples)
    valid = Crops(manifest, run.speech, "valid", config.crop, samples)
    valid_batch = torch.from_numpy(valid.batch(config.valid_crops, config.seed)).to(device)

    checkpoint = run.checkpoints / "checkpoint.pt"
    step, seconds = 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        if state["identity"] == run.identity:
            step, seconds = state["step"], state["seconds"]
            codec.load_state_dict(state["codec"])
            average.load_state_dict(state["average"])
            optimizer.load_state_dict(state["optimizer"])
    network = DistributedDataParallel(codec) if world > 1 else codec

    live = None
    if rank == 0:
        _trim_logs(run.logs, step)
        live = Live(str(run.logs), resume=step > 0, save_dvc_exp=False, dvcyaml=None, report=None)
    progress = tqdm(
        total=config.steps,
        initial=step,
        desc=run.name,
        unit="step",
        disable=True if rank else None,
    )

    def save_checkpoint() -> None:
        state = {
            "identity": run.identity,
            "step": step,
            "seconds": seconds,
            "codec": codec.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        with atomic_path(checkpoint) as temporary:
            torch.save(state, temporary)

    saved = time.monotonic()
    while step < config.steps:
        started = time.monotonic()
        x = torch.from_numpy(crops.batch(config.batch, config.seed, step, rank)).to(device)
        torch.manual_seed(
            int(np.random.SeedSequence((config.seed, step, rank)).generate_state(1)[0])
        )
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, step)
        with torch.autocast(device.type, torch.bfloat16, enabled=config.bf16):
            x_hat, bits = network(x)
        parts = distortion(x, x_hat)
        kbps = codec.kbps(bits, samples).mean()
        weight = min(1.0, (step + 1) / max(1.0, config.rate_ramp * config.steps))
        loss = parts["distortion"] + weight * kbps / run.lmbda
        if not math.isfinite(loss.item()):
            raise TrainingDivergedError(
                f"{run.name}: the loss is {loss.item()} at step {step}; "
                "lower train.learning_rate or train.clip_norm"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(codec.parameters(), config.clip_norm)
        optimizer.step()
        average.update_parameters(codec)
        step += 1
        seconds += time.monotonic() - started
        progress.update()
        if live is not None:
            if step % config.valid_steps == 0 or step == config.steps:
                live.step = step
                metrics = {"train/loss": loss.item(), "train/kbps": kbps.item()}
                metrics |= _validate(average, distortion, valid_batch, run.lmbda, config)
                for key, value in metrics.items():
                    live.log_metric(key, value)
                live.log_metric("seconds", seconds, plot=False)
                live.make_summary()
                progress.set_postfix({k: f"{v:.3f}" for k, v in metrics.items() if "valid" in k})
            if time.monotonic() - saved >= config.checkpoint_seconds or step == config.steps:
                save_checkpoint()
                saved = time.monotonic()
    progress.close()
    if live is not None:
        live.end()
        trained: ECC = average.module
        # The time that it took is in the logs: the file stays a function of the inputs.
        info = {"steps": step, "processes": world}
        save_model(trained.cpu().eval(), run.weights, run.name, run.lmbda, info)


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, then a cosine from `learning_rate` to `final_learning_rate`."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    span = config.learning_rate - config.final_learning_rate
    return config.final_learning_rate + span * (1 + math.cos(math.pi * done)) / 2


@torch.no_grad()
def _average(decay: float, average: list[Tensor], weights: list[Tensor], count: Tensor) -> None:
    """Exponential moving average that forgets the first steps faster than later ones."""
    updates = int(count)
    torch._foreach_lerp_(average, weights, 1 - min(decay, (1 + updates) / (10 + updates)))


@torch.inference_mode()
def _validate(
    average: AveragedModel, distortion: Distortion, x: Tensor, lmbda: float, config: TrainConfig
) -> dict[str, float]:
    codec: Any = average.module
    codec.eval()
    x_hat, bits = codec(x)
    codec.train()
    parts = {f"valid/{key}": value.item() for key, value in distortion(x, x_hat).items()}
    kbps = codec.kbps(bits, x.shape[-1]).mean().item()
    z_kbps = codec.kbps({"z": bits["z"], "slices": 0 * bits["slices"]}, x.shape[-1]).mean().item()
    return {
        **parts,
        "valid/kbps": kbps,
        "valid/kbps_z": z_kbps,
        "valid/skipped": bits["skipped"].item(),
        "valid/loss": parts["valid/distortion"] + kbps / lmbda,
    }


def _trim_logs(logs: Path, step: int) -> None:
    """Drop what was logged after the checkpoint that the run goes on from."""
    if step == 0:
        shutil.rmtree(logs, ignore_errors=True)
    for table in logs.glob("plots/metrics/**/*.tsv"):
        rows = pd.read_csv(table, sep="\t")
        rows[rows["step"] <= step].to_csv(table, sep="\t", index=False)
