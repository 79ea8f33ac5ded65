"""ViSQOL by its library, but for two parts that take most of its time. Scores stay the same to the
last bit.

Imports the library when it is imported itself.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray
from visqol.analysis_window import AnalysisWindow
from visqol.audio_utils import AudioSignal
from visqol.gammatone import GammatoneSpectrogramBuilder
from visqol.patch_creator import RmsVad, VadPatchCreator
from visqol.visqol_manager import MINIMUM_FREQ as LOWEST
from visqol.visqol_manager import NUM_BANDS_SPEECH, VisqolManager

Floats = NDArray[np.float64]

LANES = 16
"""Frames that are filtered side by side: as many as fill the registers of a processor."""


class PatchCreator(VadPatchCreator):
    """The library's, which goes through the reference sample by sample in Python."""

    def _get_voice_activity(
        self, signal: AudioSignal, start_sample: int, total_samples: int, frame_len: int
    ) -> list[float]:
        samples = signal.data[start_sample : start_sample + total_samples]
        # As the library: clipped, and cut towards zero.
        chunks = np.clip(samples * 32768.0, -32768, 32767).astype(np.int16)
        vad = RmsVad()
        for chunk in chunks[: len(chunks) // frame_len * frame_len].reshape(-1, frame_len):
            vad.process_chunk(chunk)
        return vad.get_vad_results()


class SpectrogramBuilder(GammatoneSpectrogramBuilder):
    """The library's, which filters one frame after another: a filter that waits for its own output
    leaves a processor idle most of the time."""

    @staticmethod
    def _build_numba(
        sig: Floats,
        window: AnalysisWindow,
        filter_coeffs: Floats,
        hop_size: int,
        num_cols: int,
        num_bands: int,
    ) -> Floats:
        first, *sections, last, b0, b1, b2, gain = filter_coeffs
        numerators = np.array([[first, section, last] for section in sections])
        numerators[0] /= gain
        result: Floats = _spectrogram(
            np.ascontiguousarray(sig, np.float64),
            np.ascontiguousarray(window.hann_window, np.float64),
            np.ascontiguousarray(numerators),
            np.ascontiguousarray([b0, b1, b2]),
            window.size,
            hop_size,
            num_bands,
            num_cols,
        )
        return result


@njit(cache=True)
def _spectrogram(
    signal: Floats,
    window: Floats,
    b: Floats,
    a: Floats,
    size: int,
    hop: int,
    bands: int,
    frames: int,
) -> Floats:
    """RMS [bands, frames] of frames of `signal` behind four filters of second order, one after
    another, that have numerators b [4, 3, bands] and one denominator a [3, bands].

    Each frame sees the operations of the library in their order.
    """
    out = np.zeros((bands, frames))
    x, z, energy = np.zeros((size, LANES)), np.zeros((8, LANES)), np.zeros(LANES)
    for start in range(0, frames, LANES):
        lanes = min(LANES, frames - start)
        for lane in range(lanes):
            for k in range(size):
                x[k, lane] = signal[(start + lane) * hop + k] * window[k]
        for band in range(bands):
            a1, a2 = a[1, band], a[2, band]
            b00, b01, b02 = b[0, 0, band], b[0, 1, band], b[0, 2, band]
            b10, b11, b12 = b[1, 0, band], b[1, 1, band], b[1, 2, band]
            b20, b21, b22 = b[2, 0, band], b[2, 1, band], b[2, 2, band]
            b30, b31, b32 = b[3, 0, band], b[3, 1, band], b[3, 2, band]
            z[:] = 0.0
            energy[:] = 0.0
            for k in range(size):
                for lane in range(LANES):
                    u = x[k, lane]
                    v = b00 * u + z[0, lane]
                    z[0, lane] = b01 * u - a1 * v + z[1, lane]
                    z[1, lane] = b02 * u - a2 * v
                    u = b10 * v + z[2, lane]
                    z[2, lane] = b11 * v - a1 * u + z[3, lane]
                    z[3, lane] = b12 * v - a2 * u
                    v = b20 * u + z[4, lane]
                    z[4, lane] = b21 * u - a1 * v + z[5, lane]
                    z[5, lane] = b22 * u - a2 * v
                    u = b30 * v + z[6, lane]
                    z[6, lane] = b31 * v - a1 * u + z[7, lane]
                    z[7, lane] = b32 * v - a2 * u
                    energy[lane] += u * u
            for lane in range(lanes):
                out[band, start + lane] = np.sqrt(energy[lane] / size)
    return out


def manager() -> VisqolManager:
    """ViSQOL v3 in speech mode with the lattice mapping, ready for `run_from_signals`."""
    made = VisqolManager()
    # Left to itself it chooses the mapping by what is installed, and the two differ more than
    # codecs do.
    made.init(use_speech_mode=True, use_lattice_model=True)
    assert isinstance(made.patch_creator, VadPatchCreator)
    made.patch_creator = PatchCreator(made.patch_creator.patch_size)
    made.spect_builder = SpectrogramBuilder(NUM_BANDS_SPEECH, LOWEST, speech_mode=True)
    return made
