import io
import sys

import av
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ecc import audio
from ecc.audio import (
    SAMPLE_RATE,
    AudioError,
    decode,
    open_audio,
    read,
    resample,
    resample_blocks,
    to_int16,
    write,
    write_blocks,
)


def sine(frequency: float, rate: int, seconds: float = 1.0) -> np.ndarray:
    time = np.arange(int(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


@pytest.mark.parametrize("rate", [16000, 22050, 24000, 44100, 48000, 8000])
def test_resampling_keeps_what_fits(rate):
    out = resample(sine(3000, rate), rate)
    assert out.size == SAMPLE_RATE
    inside = slice(200, -200)  # the filter sees silence beyond the ends
    assert np.abs(out - sine(3000, SAMPLE_RATE))[inside].max() < 1e-3


@pytest.mark.parametrize("frequency", [8300, 9000, 15000])
def test_resampling_removes_what_would_alias(frequency):
    out = resample(sine(frequency, 44100), 44100)
    assert np.abs(out[200:-200]).max() < 0.5 * 10 ** (-80 / 20)


@given(
    st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000, 192000]),
    st.lists(st.integers(0, 5000), min_size=1, max_size=8),
    st.sampled_from([1, 100, 1000, 6000]),
    st.integers(0, 99),
)
def test_resampling_in_blocks_is_that_of_the_whole(rate, lengths, gathered, seed):
    whole = np.random.default_rng(seed).uniform(-1, 1, sum(lengths)).astype(np.float32)
    blocks = np.split(whole, np.cumsum(lengths)[:-1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audio, "BLOCK", gathered)
        out = np.concatenate([*resample_blocks(blocks, rate)])
    at_once = np.concatenate([*resample_blocks([whole], rate)])
    np.testing.assert_allclose(out, at_once, rtol=0, atol=2**-23)
    np.testing.assert_array_equal(at_once, resample(whole, rate))


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_resampling_is_that_of_torchaudio_in_float64(rate):
    # In float32 its sums follow the number of threads, and samples of 16 bit with them.
    from torchaudio.functional import resample as reference

    samples = np.random.default_rng(0).uniform(-1, 1, rate).astype(np.float32)
    expected = reference(
        torch.from_numpy(samples).double(),
        rate,
        SAMPLE_RATE,
        resampling_method="sinc_interp_kaiser",
        lowpass_filter_width=audio.CROSSINGS,
        rolloff=audio.ROLLOFF,
        beta=audio.BETA,
    )
    np.testing.assert_allclose(resample(samples, rate), expected, rtol=0, atol=2**-23)


def test_reads_and_resamples_in_blocks(tmp_path, monkeypatch):
    path = tmp_path / "a.flac"
    wave = np.stack([sine(440, 44100), sine(880, 44100)], axis=1)
    soundfile.write(path, wave, 44100)
    whole = read(path)
    monkeypatch.setattr(audio, "BLOCK", 1000)
    with path.open("rb") as file:
        recording = open_audio(file, "a.flac")
        assert (recording.rate, recording.channels) == (44100, 2)
        assert {len(block) for block in recording.mono()} == {1000, 100}
    np.testing.assert_allclose(read(path), whole, rtol=0, atol=1e-6)


@given(arrays(np.int16, st.integers(1, 100)))
def test_int16_comes_through_float_unchanged(samples):
    np.testing.assert_array_equal(to_int16(samples.astype(np.float32) / 32768), samples)


def test_int16_rounds_and_clips():
    floats = np.array([2.0, -2.0, 1.0, -1.0, 0.6 / 32768, -0.6 / 32768], np.float32)
    assert to_int16(floats).tolist() == [32767, -32768, 32767, -32768, 1, -1]


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_write_and_read(tmp_path, suffix):
    samples = sine(440, SAMPLE_RATE)
    write(tmp_path / f"a{suffix}", samples)
    back = read(tmp_path / f"a{suffix}")
    assert back.dtype == np.float32
    np.testing.assert_array_equal(to_int16(back), to_int16(samples))
    assert [p.name for p in tmp_path.iterdir()] == [f"a{suffix}"]


def test_writes_in_blocks(tmp_path):
    samples = sine(440, SAMPLE_RATE)
    write(tmp_path / "a.wav", samples)
    assert write_blocks(tmp_path / "b.wav", np.split(samples, [0, 10, 5000])) == samples.size
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_write_refuses_an_unknown_suffix(tmp_path):
    with pytest.raises(AudioError, match=r"a\.xyz"):
        write(tmp_path / "a.xyz", np.zeros(10))


def test_reads_stereo_as_the_mean(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.array([[0.5, -0.25]] * 1000), SAMPLE_RATE, subtype="FLOAT")
    np.testing.assert_allclose(read(path), np.full(1000, 0.125))


@pytest.mark.parametrize("format", ["OGG", "FLAC", "WAV", "OPUS", "MP3"])
def test_decodes_what_libsndfile_knows(format):
    file = io.BytesIO()
    container, subtype = ("OGG", "OPUS") if format == "OPUS" else (format, None)
    soundfile.write(file, sine(440, 48000), 48000, format=container, subtype=subtype)
    samples, rate = decode(file.getvalue(), "a")
    assert rate == 48000 and samples.size == 48000
    assert np.abs(samples - sine(440, 48000))[2000:-2000].max() < 0.05


def test_decodes_what_only_ffmpeg_knows():
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=48000, layout="stereo")
        wave = np.stack([sine(440, 48000), np.zeros(48000, np.float32)])
        frame = av.AudioFrame.from_ndarray(wave, "fltp", "stereo")
        frame.sample_rate = 48000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    samples, rate = decode(file.getvalue(), "a.m4a")
    assert rate == 48000
    delay = np.argmax(np.correlate(samples, sine(440, 48000)[:40000], "valid"))
    assert np.abs(2 * samples[delay:][:30000] - sine(440, 48000)[:30000])[3000:].max() < 0.05
    resampled = open_audio(io.BytesIO(file.getvalue()), "a.m4a").speech()
    np.testing.assert_allclose(resampled, resample(samples, 48000), rtol=0, atol=1e-6)


def test_no_playlist_makes_ffmpeg_open_other_files(tmp_path):
    write(tmp_path / "a.wav", sine(440, SAMPLE_RATE))
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/a.wav\n#EXT-X-ENDLIST\n"
    (tmp_path / "b.m3u8").write_text(playlist)
    with pytest.raises(AudioError, match="no audio"):
        read(tmp_path / "b.m3u8")


@pytest.mark.parametrize("rate", [1, 999, 44101, 1_000_000])
def test_rates_that_nothing_can_be_made_of(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", np.ones(100), rate)
    with pytest.raises(AudioError, match=f"a.wav: a sample rate of {rate} Hz"):
        read(tmp_path / "a.wav")


def test_decodes_g722():
    encoder = av.CodecContext.create("g722", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = SAMPLE_RATE, "mono", "s16"
    pcm = to_int16(sine(440, SAMPLE_RATE))
    packets = []
    for start in range(0, pcm.size, 320):
        frame = av.AudioFrame.from_ndarray(pcm[None, start : start + 320], "s16", "mono")
        frame.sample_rate = SAMPLE_RATE
        packets += encoder.encode(frame)
    data = b"".join(bytes(packet) for packet in [*packets, *encoder.encode(None)])
    samples, rate = decode(data, "x/a.g722")
    assert rate == SAMPLE_RATE and samples.size == 2 * len(data) == SAMPLE_RATE
    # G.722 delays by 22 samples.
    assert np.abs(samples[1022:] - sine(440, SAMPLE_RATE)[1000:-22]).max() < 0.05
    np.testing.assert_array_equal(to_int16(samples) / 32768, samples)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), (b"", "empty file"), (b"no audio at all" * 99, "no audio")],
)
def test_bad_files_are_named_in_one_line(tmp_path, content, message):
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AudioError, match=message) as error:
        read(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_no_samples(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), SAMPLE_RATE)
    with pytest.raises(AudioError, match="no samples"):
        read(tmp_path / "a.wav")


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_a_wav_written_into_a_pipe_is_read_to_its_end(tmp_path, length, subtype):
    path, wave = tmp_path / "a.wav", sine(440, SAMPLE_RATE)
    soundfile.write(path, wave, SAMPLE_RATE, subtype=subtype)
    data = path.read_bytes()
    at = data.index(b"data") + 4
    unknown = length.to_bytes(4, "little")
    path.write_bytes(data[:4] + unknown + data[8:at] + unknown + data[at + 4 :])
    np.testing.assert_allclose(read(path), wave, rtol=0, atol=2**-15)
    with path.open("rb") as file:
        recording = open_audio(file, "a.wav")
        assert len(recording.speech()) == SAMPLE_RATE
        assert recording.notes == []


def test_a_file_cut_short_is_read_as_far_as_it_goes_and_says_so(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, sine(440, SAMPLE_RATE), SAMPLE_RATE)
    path.write_bytes(path.read_bytes()[: 44 + SAMPLE_RATE])
    with path.open("rb") as file:
        recording = open_audio(file, "a.wav")
        assert len(recording.speech()) == SAMPLE_RATE // 2
    assert recording.notes == ["cut short: 0.50 s of 1.00 s are there"]


def encoded(format: str, seconds: float = 10.0) -> bytes:
    """Noise as such a file, at 16 kHz."""
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, int(seconds * SAMPLE_RATE))
    container, subtype = ("OGG", "OPUS") if format == "OPUS" else (format, None)
    file = io.BytesIO()
    soundfile.write(file, noise, SAMPLE_RATE, format=container, subtype=subtype)
    return file.getvalue()


def heard(data: bytes) -> tuple[np.ndarray, list[str]]:
    """The samples of a file in memory, and what is noted of it."""
    recording = open_audio(io.BytesIO(data), "a")
    return recording.speech(), recording.notes


@pytest.mark.parametrize("part", [0.5, 0.999])
@pytest.mark.parametrize("format", ["FLAC", "OGG", "OPUS", "MP3"])
def test_what_is_there_of_other_kinds_cut_short_is_read_too(format, part):
    data = encoded(format)
    whole, none = heard(data)
    assert (len(whole), none) == (10 * SAMPLE_RATE, [])
    there, notes = heard(data[: int(part * len(data))])
    assert (part - 0.2) * len(whole) < len(there) < len(whole)
    np.testing.assert_array_equal(there, whole[: len(there)])
    # Ogg does not say how much there should be.
    of = " of 10.00 s" if format in ("FLAC", "MP3") else ""
    assert notes == [f"cut short: {len(there) / SAMPLE_RATE:.2f} s{of} are there"]


def test_an_ogg_whose_last_page_does_not_say_so_is_whole():
    data = encoded("OGG")
    assert heard(data[: data.rindex(b"OggS")])[1] == []


@pytest.mark.parametrize("more", [10, 30])  # in the header of a page, and in its table
def test_an_ogg_that_ends_in_the_header_of_a_page_is_cut_short(more):
    data = encoded("OGG")
    assert heard(data[: data.rindex(b"OggS") + more])[1]


def of_unknown_length(flac: bytes) -> bytes:
    """As who writes a FLAC into a pipe leaves it."""
    data = bytearray(flac)
    data[21] &= 0xF0  # 36 bits of the first block, of 34 bytes behind 8
    data[22:26] = bytes(4)
    return bytes(data)


def test_a_flac_that_does_not_say_its_length_is_read_to_its_end():
    data = encoded("FLAC")
    whole, notes = heard(of_unknown_length(data))
    assert notes == []
    np.testing.assert_array_equal(whole, heard(data)[0])
    there, notes = heard(of_unknown_length(data)[: len(data) // 2])
    np.testing.assert_array_equal(there, whole[: len(there)])
    assert notes == [f"cut short: {len(there) / SAMPLE_RATE:.2f} s are there"]


def test_a_damaged_flac_is_not_taken_for_one_that_is_cut_short():
    data = bytearray(encoded("FLAC"))
    data[len(data) // 2 : len(data) // 2 + 20] = bytes(20)
    with pytest.raises(AudioError, match=r"a: no audio that can be read \(.*FLAC|flac"):
        heard(bytes(data))


def test_an_mp3_that_does_not_say_its_length_is_read_to_its_end():
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 88_200)
    wave = np.concatenate([noise, np.zeros(100 * 1152 - len(noise))]).astype(np.float32)
    file = io.BytesIO()
    with av.open(file, "w", format="mp3", options={"write_xing": "0"}) as container:
        stream = container.add_stream("libmp3lame", rate=44_100, layout="mono")
        stream.codec_context.flags |= 2  # variable rate: the noise takes many bits, silence few
        stream.codec_context.global_quality = 236
        for start in range(0, len(wave), 1152):
            frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1152], "fltp", "mono")
            frame.sample_rate, frame.pts = 44_100, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file.seek(0)
    assert soundfile.info(file).frames < 50_000  # guessed from the first frames
    samples, rate = decode(file.getvalue(), "a")
    assert (rate, len(samples)) == (44_100, 101 * 1152)  # one more, since an encoder waits
    assert heard(file.getvalue())[1] == []


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "OPUS", "MP3"])
def test_blocks_are_those_of_the_whole(format, monkeypatch):
    data = encoded(format)
    whole, _ = heard(data)
    monkeypatch.setattr(audio, "BLOCK", 10_000)
    np.testing.assert_array_equal(heard(data)[0], whole)


def test_what_will_be_clipped_is_noted(tmp_path):
    samples = np.array([0, 1, 1.5, -1, -2], np.float32)
    soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE, subtype="FLOAT")
    with (tmp_path / "a.wav").open("rb") as file:
        recording = open_audio(file, "a.wav")
        np.testing.assert_array_equal(recording.speech(), samples)
    assert recording.notes == ["2 samples beyond full scale are clipped"]


def test_without_ffmpeg_one_line_says_how_to_have_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.m4a").write_bytes(b"not what libsndfile knows")
    with pytest.raises(AudioError, match=r"a\.m4a: no audio .*ecc-speech\[formats\]") as error:
        read(tmp_path / "a.m4a")
    assert "\n" not in str(error.value)


def test_not_finite(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([0, np.nan]), SAMPLE_RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match="not finite"):
        read(tmp_path / "a.wav")


def test_a_folder(tmp_path):
    with pytest.raises(AudioError, match="Is a directory"):
        read(tmp_path)
