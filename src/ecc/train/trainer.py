"""Rate-distortion training that can be killed at any moment and resumed to the same weights.

Everything random in a step (crops, quantization noise) is drawn from (seed, step, rank) alone, so
a checkpoint needs the step, the weights, their average and the optimizer, and no generator state.

A longer run need not start anew: `train.cycles` cosines of the learning rate follow one another
(Loshchilov and Hutter, "SGDR", 2017), and each cycle begins with what the one before it wrote, the
averaged weights, and nothing else.
"""

import json
import math
import os
import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
from dvclive import Live
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from ecc.model.codec import ECC
from ecc.model.config import CodecConfig
from ecc.model.layers import Taps
from ecc.model.lyra_transform import LyraTransform
from ecc.model.weights import ModelError, load_model, save_model
from ecc.train import checkpoint
from ecc.train.config import TrainConfig
from ecc.train.crops import Crops
from ecc.train.grow import grow
from ecc.train.loss import Distortion
from ecc.train.muon import Muon

# Share of the learning rate for weights that others have trained.
FINE_TUNING = 0.05


class TrainingDivergedError(Exception):
    """The loss is no longer a number."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one training reads and writes.

    `identity` names everything that the weights follow from (parameters, corpus, code); a
    checkpoint of another identity is not resumed.
    """

    name: str
    codec: CodecConfig
    train: TrainConfig
    lmbda: Sequence[float]  # of each quality level; none for residual vector quantization
    manifest: Path
    speech: Path
    checkpoints: Path
    logs: Path
    weights: Path
    identity: str
    sources: Collection[str] | None = None  # of the manifest, that are heard; None: all
    software: Mapping[str, str] = field(default_factory=dict)  # versions, for the model's file
    start: Path | None = None  # weights to go on from, where no checkpoint has come further
    begins_as: "Run | None" = None  # a smaller model, which is trained before if it is not yet
    base: Path | None = None  # a model file with what is not trained, for a model of its tokens

    @property
    def checkpoint(self) -> Path:
        """What the run goes on from once it was killed."""
        return self.checkpoints / "checkpoint.pt"


def begun(run: Run) -> bool:
    """Whether there is a checkpoint that `run`, or what it begins as, goes on from.

    Raises `CheckpointError` when it is damaged.
    """
    state = checkpoint.load(run.checkpoint)
    if state is not None and _goes_on(run, state):
        return True
    return run.begins_as is not None and (run.begins_as.weights.exists() or begun(run.begins_as))


def train(run: Run) -> None:
    """Train a model with loss D + R / lambda (the minimiser of R + lambda D), R in kbit/s; where
    the rate is fixed, for residual vector quantization, with D + the commitment loss. What it
    begins as is trained before.

    Under torchrun each process takes its own crops and gradients are averaged; the first process
    alone validates, logs and writes.

    Raises:
        CheckpointError: the checkpoint is damaged or cannot be written.
        ModelError: `run.start` is no model of this codec at the end of a cycle.
        TrainingDivergedError: the loss became NaN or infinite; the last checkpoint stands.
        ValueError: the manifest has no training or validation speech, or a model cannot begin as
            the one before.
    """
    runs = [run]
    while run.start is None and (smaller := runs[0].begins_as) is not None:
        runs.insert(0, smaller)
        if smaller.weights.exists():
            break
    for smaller, larger in pairwise(runs):  # now, and not when the smaller one has been trained
        grow(ECC(larger.codec), ECC(smaller.codec))
    world = int(os.environ.get("WORLD_SIZE", 1))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    if world > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        for part in runs:
            if part is run or not part.weights.exists():
                Trainer(part, device, world, int(os.environ.get("RANK", 0))).fit()
    finally:
        if world > 1:
            dist.destroy_process_group()


class Trainer:
    """One process of a training: its networks, its data, and the step that it has come to."""

    def __init__(self, run: Run, device: torch.device, world: int, rank: int) -> None:
        self.run, self.config = run, run.train
        self.device, self.world, self.rank = device, world, rank
        torch.manual_seed(self.config.seed)
        self.codec = self._build().to(device)
        self.samples = self.config.crop.frames * self.codec.transform.samples_per_frame
        if self.samples % self.codec.granule:
            raise ValueError("train.crop.frames must be a multiple of codec.entropy.z_stride")
        self.distortion = Distortion(self.config.loss).to(device)
        self.precision = _precision(self.config, device)
        self._begin()
        self.lmbda = torch.tensor(run.lmbda, device=device)
        manifest = pd.read_csv(run.manifest, keep_default_na=False)
        if run.sources is not None:
            manifest = manifest[manifest["source"].isin(run.sources)]
        crop = self.config.crop
        self.crops = Crops(manifest, run.speech, "train", crop, self.samples)
        valid = Crops(manifest, run.speech, "valid", crop, self.samples)
        self.valid = self._tensor(valid.batch(self.config.valid_crops, self.config.seed))
        self.step = 0
        self.seconds = 0.0
        self._resume()
        if run.start is not None:
            self._start_from(run.start)
        self.network = DistributedDataParallel(self.codec) if world > 1 else self.codec

    def _build(self) -> ECC:
        """The codec as training starts from it."""
        codec = ECC(self.run.codec)
        if self.run.begins_as is not None and self.run.start is None:
            grow(codec, load_model(self.run.begins_as.weights).codec.float())
        elif self.run.lmbda:
            codec.spread_levels(self.run.lmbda)
        return codec

    def _begin(self) -> None:
        """A cycle's average and optimizers, which know nothing yet."""
        self.average = AveragedModel(self.codec, multi_avg_fn=partial(_average, self.config.ema))
        self.optimizers = _optimizers(self.codec, self.config, self.precision)

    def fit(self) -> None:
        """Train to the last step and write the weights."""
        live = self._open_logs() if self.rank == 0 else None
        progress = tqdm(
            total=self.config.all_steps,
            initial=self.step,
            desc=self.run.name,
            unit="step",
            disable=True if self.rank else None,
        )
        saved = time.monotonic()
        while self.step < self.config.all_steps:
            started = time.monotonic()
            if self.step and self.step % self.config.steps == 0:
                self.codec.load_state_dict(self._averaged().state_dict())
                self._begin()
            metrics = self._train_step()
            self.step += 1
            self.seconds += time.monotonic() - started
            progress.update()
            if live is None:
                continue
            ended = self.step % self.config.steps == 0
            if ended or self.step % self.config.valid_steps == 0:
                metrics |= self._validate()
                live.step = self.step
                for key, value in metrics.items():
                    live.log_metric(key, value)
                live.log_metric("seconds", self.seconds, plot=False)
                live.make_summary()
                progress.set_postfix(loss=f"{metrics['valid/loss']:.3f}")
            if ended or time.monotonic() - saved >= self.config.checkpoint_seconds:
                self._save()
                saved = time.monotonic()
        progress.close()
        if live is not None:
            live.end()
            # The time that it took is in the logs: the file stays a function of the inputs.
            run, trained = self.run, self._averaged().cpu().eval()
            software = dict(run.software)
            info = {"steps": self.step, "processes": self.world, "software": software}
            save_model(trained, run.weights, run.name, run.lmbda, info, run.base)
        if self.world > 1:
            dist.barrier()  # the others may read what the first has written

    def _train_step(self) -> dict[str, float]:
        config, key = self.config, (self.config.seed, self.step, self.rank)
        x = self._tensor(self.crops.batch(config.batch, *key))
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
        loss, kbps = self._loss(x)
        if not math.isfinite(loss.item()):
            raise TrainingDivergedError(
                f"the loss is {loss.item()} at step {self.step}; "
                "lower train.learning_rate or train.clip_norm"
            )
        self.codec.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.codec.parameters(), config.clip_norm)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group.get("share", 1.0) * learning_rate(config, self.step)
            optimizer.step()
        self.average.update_parameters(self.codec)
        return {"train/loss": loss.item(), "train/kbps": kbps.item()}

    def _loss(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of the crops x [B, T], each at a level of its own, and their mean rate."""
        level = torch.randint(self.codec.config.levels, (len(x),), device=self.device)
        reduced = self.precision != torch.float32
        with torch.autocast(self.device.type, self.precision, enabled=reduced):
            x_hat, bits = self.network(x, level)
        distortion = self.distortion(x, x_hat)["distortion"]
        kbps = self.codec.kbps(bits, self.samples)
        ramp = self.config.rate_ramp * self.config.steps
        weight = min(1.0, (self.step + 1) / max(1.0, ramp))
        return distortion + weight * self._constraint(kbps, bits, level), kbps.mean()

    def _constraint(self, kbps: Tensor, bits: dict[str, Tensor], level: Tensor) -> Tensor:
        """What the loss holds beside the distortion."""
        if "commitment" in bits:
            return bits["commitment"]
        return (kbps / self.lmbda[level]).mean()

    @torch.inference_mode()
    def _validate(self) -> dict[str, float]:
        """Scores of each quality level, by its lambda or stages, and their mean loss."""
        codec = self._averaged().eval()
        metrics: dict[str, float] = {}
        losses = []
        for number, name in enumerate(self.run.lmbda or self.run.codec.rvq.stages):
            level = torch.full((len(self.valid),), number, device=self.device)
            x_hat, bits = codec(self.valid, level)
            scores = self.distortion(self.valid, x_hat)
            kbps = codec.kbps(bits, self.samples)
            losses.append((scores["distortion"] + self._constraint(kbps, bits, level)).item())
            scores["kbps"] = kbps.mean()
            scores["z_share"] = bits["z"].sum() / (bits["z"] + bits["slices"].sum(dim=-1)).sum()
            scores["skipped"] = bits["skipped"]
            metrics |= {f"valid/{name:g}/{key}": value.item() for key, value in scores.items()}
        codec.train()
        return metrics | {"valid/loss": sum(losses) / len(losses)}

    def _save(self) -> None:
        state = {
            "identity": self.run.identity,
            "step": self.step,
            "seconds": self.seconds,
            "codec": self.codec.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        checkpoint.save(state, self.run.checkpoint)

    def _resume(self) -> None:
        """Be where the checkpoint is; one that this run cannot go on from is set aside."""
        path = self.run.checkpoint
        state = checkpoint.load(path)
        if state is None:
            return
        if not _goes_on(self.run, state):
            if self.rank == 0:
                aside = checkpoint.set_aside(path, state["identity"][:8])
                print(f"{self.run.name}: {path} was of another training and is now {aside}")
            return
        self.step, self.seconds = state["step"], state["seconds"]
        self.codec.load_state_dict(state["codec"])
        self.average.load_state_dict(state["average"])
        for optimizer, values in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(values)

    def _start_from(self, path: Path) -> None:
        """Be at the end of the cycle that wrote the weights in `path`."""
        trained = load_model(path)
        steps = trained.info["steps"]
        wanted = self.run.codec.relevant(), list(self.run.lmbda)
        same = (trained.codec.config.relevant(), trained.lmbda) == wanted
        if not same or steps % self.config.steps or steps > self.config.all_steps:
            raise ModelError(
                f"{path}: not the weights of {self.run.name} after a cycle of "
                f"{self.config.steps} steps"
            )
        if steps > self.step:
            own = self.codec.state_dict()
            # The coding tables follow from the weights and have sizes of their own.
            state = {k: v for k, v in trained.codec.float().state_dict().items() if k in own}
            state = {k: v for k, v in state.items() if v.shape == own[k].shape}
            self.codec.load_state_dict(state, strict=False)
            self._begin()
            self.step = steps
            log = self.run.logs / "metrics.json"
            if log.exists():
                self.seconds = json.loads(log.read_text(encoding="utf-8")).get("seconds", 0.0)

    def _open_logs(self) -> Live:
        """DVCLive logs that hold nothing from after the step that the run goes on from."""
        logs = self.run.logs
        if self.step == 0:
            shutil.rmtree(logs, ignore_errors=True)
        for table in logs.glob("plots/metrics/**/*.tsv"):
            rows = pd.read_csv(table, sep="\t")
            rows[rows["step"] <= self.step].to_csv(table, sep="\t", index=False)
        return Live(str(logs), resume=self.step > 0, save_dvc_exp=False, dvcyaml=None, report=None)

    def _averaged(self) -> ECC:
        codec = self.average.module
        assert isinstance(codec, ECC)
        return codec

    def _tensor(self, batch: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(batch).to(self.device)


def _goes_on(run: Run, state: Mapping[str, Any]) -> bool:
    """Whether `state` is of the inputs of `run`, and not beyond its end."""
    return state["identity"] == run.identity and state["step"] <= run.train.all_steps


def _precision(config: TrainConfig, device: torch.device) -> torch.dtype:
    """What matrices are multiplied in. A processor that only emulates bfloat16 takes twenty times
    as long with it as with float32."""
    if device.type == "cuda":
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # Processors with AVX-512 BF16 alone take twice as long with it as with float32.
        supported = torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if config.bf16 and supported else torch.float32


def _optimizers(
    codec: ECC, config: TrainConfig, precision: torch.dtype
) -> list[torch.optim.Optimizer]:
    """Adam, or Muon for all matrices and Adam for the rest: tables, biases, norms and priors."""
    inner: dict[int, list[Tensor]] = {}  # by the matrices that lie side by side in one
    if config.optimizer == "muon":
        for layer in codec.modules():
            if isinstance(layer, nn.Linear):
                inner.setdefault(_parts(layer), []).append(layer.weight)
    tuned: list[Tensor] = []
    if isinstance(codec.transform, LyraTransform):
        tuned = list(codec.transform.decoder.parameters())
    chosen = {id(parameter) for parameter in (*chain(*inner.values()), *tuned)}
    rest = [p for p in codec.parameters() if p.requires_grad and id(p) not in chosen]
    groups: list[dict[str, Any]] = [{"params": rest}]
    if tuned:
        groups.append({"params": tuned, "share": FINE_TUNING})
    optimizers: list[torch.optim.Optimizer] = [torch.optim.Adam(groups, lr=0.0, betas=(0.9, 0.99))]
    if inner:
        matrices = [{"params": params, "parts": parts} for parts, params in inner.items()]
        optimizers.append(Muon(matrices, dtype=precision))
    return optimizers


def _parts(layer: nn.Linear) -> int:
    """Matrices side by side in that of a layer: the taps of one that widens, which are cheaper to
    orthogonalise one by one."""
    taps = layer.taps if isinstance(layer, Taps) else 1
    return taps if layer.out_features * taps > layer.in_features else 1


def learning_rate(config: TrainConfig, step: int) -> float:
    """In each cycle, linear warm-up, then a cosine from `learning_rate` to
    `final_learning_rate`."""
    step %= config.steps
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
