import json

import numpy as np
import pandas as pd
import pytest
import soundfile
from pydantic import Field

from ecc.audio import AudioError
from ecc.data.corpus import COLUMNS
from ecc.data.download import Unreachable
from ecc.data.fetch import fetch, safe_name
from ecc.data.sources.base import Recording, Source
from ecc.files import ChecksumError

from .conftest import sha256, tone


class Given(Source):
    """A source of given recordings; an exception among them is raised."""

    recorded: tuple = Field((), exclude=True)

    @property
    def origin(self):
        return "https://example.org"

    @property
    def version(self):
        return "1"

    def recordings(self, name, downloads):
        for recording in self.recorded:
            if isinstance(recording, BaseException):
                raise recording
            yield recording


def run(tmp_path, *recordings):
    source = Given.model_construct(licence="CC0", recorded=recordings)
    reason = fetch("given", source, tmp_path, tmp_path / "downloads")
    folder = tmp_path / "given"
    return (
        reason,
        pd.read_csv(folder / "clips.csv"),
        np.fromfile(folder / "speech.s16", "<i2"),
        json.loads((folder / "source.json").read_text()),
    )


def recording(path, seconds, seed=0, rate=16000, **more):
    return Recording(path, tone(seconds, seed, rate), "given/a", "en", "train", **more)


def test_writes_clips_one_after_the_other(tmp_path):
    recordings = [recording("b/x.wav", 0.5, 1), recording("a/y z.wav", 1.0, 2, rate=48000)]
    reason, clips, samples, facts = run(tmp_path, *recordings)
    assert reason is None
    assert list(clips.columns) == COLUMNS
    assert list(clips["clip"]) == ["given__a__y_z", "given__b__x"]
    assert list(clips["start"]) == [8000, 0]
    assert list(clips["samples"]) == [16000, 8000]
    assert list(clips["seconds"]) == [1.0, 0.5]
    assert samples.size == 24000
    assert facts["available"] and facts["reason"] is None and facts["licence"] == "CC0"
    # The first of them was 16 kHz, 16 bits: it comes through unchanged.
    expected = np.random.default_rng(1).uniform(-0.5, 0.5, 8000)
    assert np.abs(samples[:8000] / 32768 - expected).max() < 1 / 32768


def test_leaves_out_short_narrow_empty_and_repeated_clips(tmp_path):
    _, clips, samples, _ = run(
        tmp_path,
        recording("kept.wav", 1.0, 1),
        recording("short.wav", 0.29, 2),
        recording("narrow.wav", 1.0, 3, rate=8000),
        recording("repeated.wav", 1.0, 1),
        Recording("empty.wav", b"", "given/a", "en", "train"),
    )
    assert list(clips["clip"]) == ["given__kept"]
    assert samples.size == 16000


def test_unreachable_leaves_empty_files_and_a_reason(tmp_path):
    run(tmp_path, recording("x.wav", 1.0))
    reason, clips, samples, facts = run(tmp_path, Unreachable("no route"))
    assert reason == "no route"
    assert clips.empty and list(clips.columns) == COLUMNS
    assert samples.size == 0
    assert not facts["available"] and facts["reason"] == "no route"


def test_unreachable_after_some_clips_keeps_none_of_them(tmp_path):
    _, clips, samples, _ = run(tmp_path, recording("x.wav", 1.0), Unreachable("gone"))
    assert clips.empty and samples.size == 0


@pytest.mark.parametrize("end", [KeyboardInterrupt(), ChecksumError("bad")])
def test_a_fetch_cut_off_is_not_taken_for_whole(tmp_path, end):
    run(tmp_path, recording("x.wav", 1.0))
    with pytest.raises(type(end)):
        run(tmp_path, recording("y.wav", 1.0), end)
    assert not (tmp_path / "given" / "source.json").exists()
    # What a kill without warning leaves, a new fetch clears away.
    (tmp_path / "given" / ".speech-half.s16").write_bytes(b"half")
    _, clips, _, _ = run(tmp_path, recording("y.wav", 1.0))
    assert list(clips["clip"]) == ["given__y"]
    assert sorted(p.name for p in (tmp_path / "given").iterdir()) == [
        "clips.csv", "source.json", "speech.s16",
    ]  # fmt: skip


def test_samples_are_checked_where_they_are_pinned(tmp_path):
    pinned = recording("x.wav", 1.0)
    _, _, samples, _ = run(tmp_path, pinned)
    run(tmp_path, pinned._replace(pcm16_sha256=sha256(samples.tobytes())))
    with pytest.raises(ChecksumError, match=r"x\.wav"):
        run(tmp_path, recording("x.wav", 1.0, 7, pcm16_sha256=sha256(samples.tobytes())))


def test_pinned_samples_are_those_of_the_file_before_it_is_resampled(tmp_path):
    samples = np.random.default_rng(5).integers(-9999, 9999, 24000).astype("<i2")
    files = {}
    for name, subtype in (("x.wav", "PCM_16"), ("x.flac", "PCM_16"), ("float.wav", "FLOAT")):
        soundfile.write(tmp_path / name, samples / 32768, 24000, subtype=subtype)
        pinned = Recording(name, (tmp_path / name).read_bytes(), "given/a", "en", "train")
        pinned = pinned._replace(pcm16_sha256=sha256(samples.tobytes()))
        _, clips, files[name], _ = run(tmp_path, pinned)
        assert list(clips["samples"]) == [16000]
        np.testing.assert_array_equal(files[name], files["x.wav"])
    with pytest.raises(ChecksumError, match=r"float\.wav"):
        run(tmp_path, pinned._replace(pcm16_sha256=sha256(files["x.wav"].tobytes())))


def test_a_clip_that_is_no_audio_is_named(tmp_path):
    with pytest.raises(AudioError, match=r"folder/x\.wav"):
        run(tmp_path, Recording("folder/x.wav", b"no audio", "given/a", "en", "train"))


def test_two_clips_of_one_name(tmp_path):
    with pytest.raises(ValueError, match="given__x"):
        run(tmp_path, recording("x.wav", 1.0, 1), recording("x.flac", 1.0, 2))


def test_safe_name():
    assert safe_name("a b/ç.d/e.tar.ogg") == "a_b___.d__e.tar"
