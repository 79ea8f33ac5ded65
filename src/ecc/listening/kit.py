"""A listening test out of what the study decoded: a folder that a browser runs.

    pick_conditions, pick_items ──▶ sounds of each item ──▶ page/, webmushra/, key.json

The sounds of an item are aligned with the reference, of its length and of one level. They have
names that say nothing; `key.json` alone says what they are, and is not for listeners.
"""

import base64
import hashlib
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from ruamel.yaml import YAML
from scipy.signal import filtfilt, firwin, kaiserord
from tqdm import tqdm

from ecc import audio
from ecc.codecs.base import from_int16
from ecc.evaluate.activity import SPEECH_FRAME, speech_frames
from ecc.evaluate.alignment import remove_delay
from ecc.listening.key import LOW, MID, OPEN, REFERENCE, Condition, Item, Key, Method, Sound
from ecc.speech import SAMPLE_RATE, read_clip
from ecc.tables import Row, read_table, records

Samples = npt.NDArray[np.float32]

PAGE = Path(__file__).parent / "page"
ANCHORS = {LOW: 3500.0, MID: 7000.0}
"""Where the pass band of each anchor ends (Hz)."""
MOST_SYSTEMS = 9
"""On one page of MUSHRA, beside the hidden reference and two anchors: 12 (BS.1534-3)."""
LONGEST = 12.0
"""Seconds of an item (BS.1534-3)."""
SHORTEST = 2.0
LEVEL = -26.0
"""Of active speech, dB below overload: the level at which ITU-T tests codecs."""
CONTROLS = 8
"""Trials of ABX that show who listens: the low anchor against the reference."""


class KitError(ValueError):
    """A listening test that cannot be made; the message is one line."""


class Plan(NamedTuple):
    """What a listening test is to compare."""

    method: Method
    codecs: Sequence[str]
    kbps: Sequence[float]
    """Each codec takes part at the point nearest to each of these rates."""
    test_set: str
    items: int | None = None
    """How many utterances; None for as many as are usual."""
    seed: int = 0
    against: str = REFERENCE
    """What ABX compares each codec with: the reference or one of `codecs`."""
    repeats: int = 1
    """How often ABX asks for each pair of each item."""


@dataclass(frozen=True)
class Decodes:
    """Where the study left what it decoded."""

    data: Path
    """Its folder `data`."""
    labels: Mapping[str, str]
    """What codecs are called."""

    def scores(self, codec: str) -> pd.DataFrame:
        """Rates and delays of the utterances of a codec."""
        return self._table(self.data / "scores" / f"{codec}.csv", f"score@{codec}")

    def index(self, codec: str) -> pd.DataFrame:
        """The files of a codec, in the folder of the table."""
        return self._table(self.data / "decoded" / codec / "index.csv", f"decode@{codec}")

    def clips(self, test_set: str) -> pd.DataFrame:
        """The utterances of a test set."""
        return self._table(self.data / "corpus" / "test_sets" / f"{test_set}.csv", "corpus")

    def _table(self, path: Path, stage: str) -> pd.DataFrame:
        try:
            return read_table(path)
        except FileNotFoundError:
            raise KitError(
                f"{path} is missing: `dvc repro {stage}` makes it, if params.yaml names it"
            ) from None


def make_kit(plan: Plan, decodes: Decodes, out: Path) -> Key:
    """Make the listening test `plan` in the new folder `out`; returns its key.

    `out` gets `page/`, which is for listeners: static files that a browser opens as they are;
    `key.json`, which is not; and `webmushra/`, the same test for webMUSHRA. The same plan on the
    same decodes makes the same files.

    Raises `KitError` when `out` is there already, or the plan cannot be followed.
    """
    if out.exists():
        raise KitError(f"{out} is there already: remove it, or name another with --out")
    systems = pick_conditions(plan, decodes)
    items = pick_items(plan, decodes, systems)
    conditions = {REFERENCE: Condition(label="hidden reference"), **systems}
    conditions[LOW] = Condition(label="anchor, 3.5 kHz")
    if plan.method == "mushra":
        conditions[MID] = Condition(label="anchor, 7 kHz")
    making = out.with_name(f".{out.name}-making")
    shutil.rmtree(making, ignore_errors=True)
    try:
        key = _write(plan, decodes, conditions, items, making)
        making.replace(out)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return key


def pick_conditions(plan: Plan, decodes: Decodes) -> dict[str, Condition]:
    """Of each codec the points whose rates on the test set are nearest, by ratio, to those asked.

    Raises `KitError` for a codec without points that have a rate there, and for too many systems.
    """
    found: dict[str, Condition] = {}
    for codec in plan.codecs:
        scores = decodes.scores(codec)
        scores = scores[(scores["test_set"] == plan.test_set) & scores["kbps"].notna()]
        bits = (scores["kbps"] * scores["seconds"]).groupby(scores["point"]).sum()
        rates = bits / scores["seconds"].groupby(scores["point"]).sum()
        about = json.loads((decodes.data / "streams" / codec / "codec.json").read_text("utf-8"))
        if rates.empty or about["rate"] == "none":
            raise KitError(f"{codec} has no rate on {plan.test_set}; see reports/rd.csv")
        for asked in plan.kbps:
            point = str((rates / asked).map(lambda ratio: abs(math.log(ratio))).idxmin())
            nominal = ", nominal rate" if about["rate"] == "nominal" else ""
            found[f"{codec}:{point}"] = Condition(
                label=f"{decodes.labels.get(codec, codec)} {rates[point]:.2f} kbps{nominal}",
                codec=codec,
                point=point,
                kbps=round(float(rates[point]), 4),
            )
    if plan.method == "mushra" and len(found) > MOST_SYSTEMS:
        raise KitError(f"{len(found)} systems are more than the {MOST_SYSTEMS} of one MUSHRA page")
    if plan.against != REFERENCE and (
        plan.against not in plan.codecs or {plan.against} == set(plan.codecs)
    ):
        raise KitError(f"--against {plan.against}: neither {REFERENCE} nor one of several --codecs")
    return found


def pick_items(
    plan: Plan, decodes: Decodes, systems: Mapping[str, Condition]
) -> dict[str, tuple[Row, bool]]:
    """The row of the test set of each item, by name, and whether it is for practice: one is.

    Utterances of 2 to 12 s that all of `systems` decoded, in random order by the seed, and each
    speaker once before one is heard twice. Where the plan leaves open how many: one and a half for
    each system, and five at least (BS.1534-3); ten of ABX. Raises `KitError` for too few.
    """
    clips = decodes.clips(plan.test_set)
    usable = set(clips.loc[clips["seconds"].between(SHORTEST, LONGEST), "clip"])
    for system in systems.values():
        scores = _of_point(decodes.scores(system.codec), plan.test_set, system.point)
        usable &= set(scores.loc[scores["delay"].notna(), "utterance"])
    usual = 10 if plan.method == "abx" else max(5, math.ceil(1.5 * len(systems)))
    count = usual if plan.items is None else plan.items
    if len(usable) < count + 1:
        raise KitError(
            f"{plan.test_set} has {len(usable)} utterances of {SHORTEST:g} to {LONGEST:g} s that "
            f"all systems decoded; {count} and one for practice are needed: see --items"
        )
    order = np.random.default_rng(plan.seed).permutation(len(clips))
    shuffled = clips.iloc[order]
    shuffled = shuffled[shuffled["clip"].isin(usable)]
    turn = shuffled.groupby("speaker").cumcount()
    chosen = records(shuffled.iloc[np.argsort(turn, kind="stable")])[: count + 1]
    named = {f"item{number + 1}": (clip, False) for number, clip in enumerate(chosen[:-1])}
    return {"practice": (chosen[-1], True), **named}


def anchor(samples: Samples, cutoff: float) -> Samples:
    """Speech [T] below `cutoff` (Hz) alone, [T], without delay.

    A window-designed linear-phase filter, applied forth and back: flat to 0.1 dB up to `cutoff`,
    and 50 dB down 0.5 kHz above it, where BS.1534-3 asks for 25 dB (and for 50 at 1 kHz).
    """
    taps, beta = kaiserord(50.0, 500.0 / (SAMPLE_RATE / 2))
    taps |= 1
    low = firwin(taps, cutoff + 250.0, window=("kaiser", beta), fs=SAMPLE_RATE)
    padded = np.pad(samples.astype(np.float64), 3 * taps)
    return filtfilt(low, [1.0], padded)[3 * taps : -3 * taps].astype(np.float32)


def match_levels(sounds: Mapping[str, Samples]) -> dict[str, Samples]:
    """The `sounds` [T] of one item at one level: their RMS over the speech of the reference
    (`speech_frames`) is 26 dB below overload.

    Where one of them would be clipped, all are lower by as much as it takes.
    Raises `KitError` for a reference without speech, and for a sound that is silent where there is
    some.
    """
    active = np.repeat(speech_frames(sounds[REFERENCE]), SPEECH_FRAME)
    if not active.any():
        raise KitError("the reference holds no speech")
    matched = {}
    for name, samples in sounds.items():
        rms = math.sqrt(np.mean(samples[: len(active)][active].astype(np.float64) ** 2))
        if not rms > 0:
            raise KitError(f"{name} is silent where its reference is not")
        matched[name] = samples * np.float32(10 ** (LEVEL / 20) / rms)
    peak = max(float(np.abs(samples).max()) for samples in matched.values())
    return {name: samples * np.float32(min(1.0, 0.999 / peak)) for name, samples in matched.items()}


def _write(
    plan: Plan,
    decodes: Decodes,
    conditions: Mapping[str, Condition],
    items: Mapping[str, tuple[Row, bool]],
    folder: Path,
) -> Key:
    content = hashlib.sha256(json.dumps(plan._asdict(), default=list).encode())
    shutil.copytree(PAGE, folder / "page")
    named: dict[str, Sound] = {}
    for item, (clip, _) in tqdm(items.items(), "items", unit="item", disable=None):
        for condition, samples in _sounds(plan, decodes, conditions, clip).items():
            pcm = audio.to_int16(samples)
            content.update(f"{item} {condition}\n".encode() + pcm.tobytes())
            # The reference that is named as such is another file than the hidden one.
            for shown in (condition, OPEN) if condition == REFERENCE else (condition,):
                digest = hashlib.sha256(f"{content.hexdigest()} {shown}".encode()).hexdigest()
                name = f"s{digest[:12]}"
                named[name] = Sound(item=item, condition=shown)
                wav = folder / "webmushra" / "audio" / f"{name}.wav"
                audio.write(wav, pcm)
                flac = folder / "page" / "audio" / f"{name}.flac"
                audio.write(flac, pcm)
                # A page that is opened as a file may load scripts, but no other file.
                text = base64.b64encode(flac.read_bytes()).decode()
                flac.with_suffix(".js").write_text(f'KIT.sounds["{name}"] = "{text}";\n')
                flac.unlink()
    kit = f"{plan.method}-{plan.test_set}-{content.hexdigest()[:8]}"
    trials = _trials(plan, conditions, items, named)
    key = Key(
        kit=kit,
        method=plan.method,
        test_set=plan.test_set,
        seed=plan.seed,
        conditions=dict(conditions),
        items={
            item: Item(utterance=clip["clip"], speaker=clip["speaker"], training=training)
            for item, (clip, training) in items.items()
        },
        sounds=dict(sorted(named.items())),
        trials=tuple(trial["id"] for trial in trials if not trial["training"]),
    )
    told = {"id": kit, "method": plan.method, "seed": plan.seed, "trials": trials, "sounds": {}}
    (folder / "page" / "kit.js").write_text(f"window.KIT = {json.dumps(told, indent=1)};\n")
    with (folder / "webmushra" / f"{kit}.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(webmushra(key, trials), file)
    (folder / "webmushra" / "audio").rename(folder / "webmushra" / kit)
    (folder / "key.json").write_text(key.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return key


def _sounds(
    plan: Plan, decodes: Decodes, conditions: Mapping[str, Condition], clip: Row
) -> dict[str, Samples]:
    """All conditions of one utterance, aligned and of one level."""
    speech = decodes.data / "corpus" / "test_sets" / f"{plan.test_set}.s16"
    reference = from_int16(read_clip(speech, clip))
    found: dict[str, Samples] = {}
    for name, condition in conditions.items():
        if name == REFERENCE:
            found[name] = reference
        elif name in ANCHORS:
            found[name] = anchor(reference, ANCHORS[name])
        else:
            row, scored = (
                records(table[table["utterance"] == clip["clip"]])[0]
                for table in (
                    _of_point(decodes.index(condition.codec), plan.test_set, condition.point),
                    _of_point(decodes.scores(condition.codec), plan.test_set, condition.point),
                )
            )
            decoded = audio.read(decodes.data / "decoded" / condition.codec / row["file"])
            found[name] = remove_delay(decoded, int(scored["delay"]), len(reference))
    try:
        return match_levels(found)
    except KitError as error:
        raise KitError(f"{clip['clip']}: {error}") from None


def _trials(
    plan: Plan,
    conditions: Mapping[str, Condition],
    items: Mapping[str, tuple[Row, bool]],
    named: Mapping[str, Sound],
) -> list[dict[str, Any]]:
    """What the page asks, in no particular order: that of a listener is drawn by the page."""
    of = {(sound.item, sound.condition): name for name, sound in named.items()}
    if plan.method == "mushra":
        return [
            {
                "id": item,
                "training": training,
                "reference": of[item, OPEN],
                # By their names, which are random: the order of conditions would say much.
                "sounds": sorted(of[item, condition] for condition in conditions),
            }
            for item, (_, training) in items.items()
        ]
    practice = [item for item, (_, training) in items.items() if training]
    tested = [item for item, (_, training) in items.items() if not training]
    controls = [tested[number % len(tested)] for number in range(CONTROLS)]
    systems = [name for name, condition in conditions.items() if condition.codec]
    rivals = [name for name in systems if conditions[name].codec == plan.against] or [REFERENCE]
    asked = [(item, REFERENCE, LOW) for item in practice + controls]
    asked += [
        (item, rival, system)
        for item in tested
        for rival in rivals
        for system in systems
        if system not in rivals
        for _ in range(plan.repeats)
    ]
    return [
        {
            "id": "practice" if item in practice else f"trial{number}",
            "training": item in practice,
            "pair": sorted([of[item, first], of[item, second]]),
        }
        for number, (item, first, second) in enumerate(asked)
    ]


def webmushra(key: Key, trials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The test as a configuration of webMUSHRA, whose audio lies in configs/ beside it.

    webMUSHRA adds the hidden reference itself. Of ABX it knows the variant in which X is what it
    calls the reference; here X is drawn by the seed, once for all listeners.
    """
    rng = np.random.default_rng(key.seed)
    path = {name: f"configs/{key.kit}/{name}.wav" for name in key.sounds}
    pages: dict[bool, list[Any]] = {True: [], False: []}
    for trial in trials:
        page: dict[str, Any] = {
            "type": "mushra" if key.method == "mushra" else "paired_comparison",
            "id": trial["id"],
            "name": "Practice" if trial["training"] else "Listening test",
            "showWaveform": False,
            "enableLooping": True,
        }
        if key.method == "mushra":
            hidden = [n for n in trial["sounds"] if key.sounds[n].condition != REFERENCE]
            page |= {
                "content": "Rate the quality of each sound against the reference. One of them is "
                "the reference itself.",
                "reference": path[trial["reference"]],
                "createAnchor35": False,
                "createAnchor70": False,
                "randomize": True,
                "showConditionNames": False,
                "stimuli": {name: path[name] for name in hidden},
            }
        else:
            x, other = rng.permutation(trial["pair"]).tolist()
            page |= {
                "content": "Which of the two is the same as the reference?",
                "reference": path[x],
                "stimuli": {other: path[other]},
            }
        pages[trial["training"]].append(page)
    return {
        "testname": "Listening test",
        "testId": key.kit,
        "bufferSize": 2048,
        "stopOnErrors": True,
        "showButtonPreviousPage": False,
        "remoteService": "service/write.php",
        "pages": [
            *pages[True],
            ["random", *pages[False]],
            {
                "type": "finish",
                "name": "Thank you",
                "content": "That was all.",
                "showResults": False,
                "writeResults": True,
            },
        ],
    }


def _of_point(table: pd.DataFrame, test_set: str, point: str) -> pd.DataFrame:
    return table[(table["test_set"] == test_set) & (table["point"] == point)]
