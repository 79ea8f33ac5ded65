"""ViSQOL by its library, but for three parts that take most of its time. Scores stay the same to
the last bit.

Imports the library when it is imported itself.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray
from visqol import patch_selector, signal_utils
from visqol.analysis_window import AnalysisWindow
from visqol.audio_utils import AudioSignal
from visqol.gammatone import GammatoneSpectrogramBuilder
from visqol.patch_creator import RmsVad, VadPatchCreator
from visqol.visqol_manager import MINIMUM_FREQ as LOWEST
from visqol.visqol_manager import NUM_BANDS_SPEECH, VisqolManager

Floats = NDArray[np.float64]

LANES = 16
"""Frames that are worked on side by side: as many as fill the registers of a processor."""


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


@njit(cache=True)
def _side_by_side(patches: Floats) -> Floats:
    """Patches [n, rows, cols] as [rows + 2, cols + 2, n], their edges repeated around them."""
    n, rows, cols = patches.shape
    out = np.empty((rows + 2, cols + 2, n))
    for row in range(rows + 2):
        for col in range(cols + 2):
            r, c = min(max(row - 1, 0), rows - 1), min(max(col - 1, 0), cols - 1)
            for k in range(n):
                out[row, col, k] = patches[k, r, c]
    return out


@njit(cache=True)
def _statistics(x: Floats, gw: Floats) -> tuple[Floats, Floats]:
    """Local means and variances [rows, cols, n] of what `_side_by_side` gave."""
    rows, cols, n = x.shape[0] - 2, x.shape[1] - 2, x.shape[2]
    mean, variance = np.zeros((rows, cols, n)), np.zeros((rows, cols, n))
    for row in range(rows):
        for col in range(cols):
            for i in range(3):
                for j in range(3):
                    for k in range(n):
                        value = x[row + i, col + j, k]
                        mean[row, col, k] += gw[i, j] * value
                        variance[row, col, k] += gw[i, j] * (value * value)
            for k in range(n):
                variance[row, col, k] -= mean[row, col, k] * mean[row, col, k]
    return mean, variance


@njit(cache=True, error_model="numpy")  # a check of what is divided by would hold up all lanes
def forward_pass(
    ref_patches: Floats,
    deg_patches: Floats,
    ref_patch_indices: NDArray[np.int64],
    num_patches: int,
    num_frames_in_deg: int,
    search_window: int,
    gw: Floats,
    c1: float,
    c3: float,
) -> tuple[Floats, NDArray[np.int64]]:
    """The library's `_dp_forward_pass`, which compares one patch of the decode after another with a
    patch of the reference, and finds the local means of the former anew for each of the latter."""
    rows, cols = ref_patches.shape[1:]
    y = _side_by_side(ref_patches)
    y_mean, y_variance = _statistics(y, gw)
    w00, w01, w02 = gw[0, 0], gw[0, 1], gw[0, 2]
    w10, w11, w12 = gw[1, 0], gw[1, 1], gw[1, 2]
    w20, w21, w22 = gw[2, 0], gw[2, 1], gw[2, 2]
    similarity = np.zeros((num_patches, num_frames_in_deg))
    block, band, total = np.zeros((LANES, rows, cols)), np.zeros(LANES), np.zeros(LANES)
    for start in range(0, num_frames_in_deg, LANES):
        lanes = min(LANES, num_frames_in_deg - start)
        block[:lanes] = deg_patches[start : start + lanes]
        x = _side_by_side(block)
        x_mean, x_variance = _statistics(x, gw)
        for patch in range(num_patches):
            middle = ref_patch_indices[patch]
            if start > middle + search_window or start + LANES <= middle - search_window:
                continue
            total[:] = 0.0
            for row in range(rows):
                band[:] = 0.0
                for col in range(cols):
                    y00, y01, y02 = (
                        y[row, col, patch],
                        y[row, col + 1, patch],
                        y[row, col + 2, patch],
                    )
                    y10, y11 = y[row + 1, col, patch], y[row + 1, col + 1, patch]
                    y12, y20 = y[row + 1, col + 2, patch], y[row + 2, col, patch]
                    y21, y22 = y[row + 2, col + 1, patch], y[row + 2, col + 2, patch]
                    mean, variance = y_mean[row, col, patch], y_variance[row, col, patch]
                    for k in range(LANES):
                        cross = 0.0
                        cross += w00 * (y00 * x[row, col, k])
                        cross += w01 * (y01 * x[row, col + 1, k])
                        cross += w02 * (y02 * x[row, col + 2, k])
                        cross += w10 * (y10 * x[row + 1, col, k])
                        cross += w11 * (y11 * x[row + 1, col + 1, k])
                        cross += w12 * (y12 * x[row + 1, col + 2, k])
                        cross += w20 * (y20 * x[row + 2, col, k])
                        cross += w21 * (y21 * x[row + 2, col + 1, k])
                        cross += w22 * (y22 * x[row + 2, col + 2, k])
                        means = mean * x_mean[row, col, k]
                        squares = mean * mean + x_mean[row, col, k] * x_mean[row, col, k]
                        product = variance * x_variance[row, col, k]
                        spread = c3 if product < 0.0 else np.sqrt(product) + c3
                        intensity = (2.0 * means + c1) / (squares + c1)
                        band[k] += intensity * ((cross - means + c3) / spread)
                for k in range(LANES):
                    total[k] += band[k] / cols
            for k in range(lanes):
                similarity[patch, start + k] = total[k] / rows

    best = np.zeros((ref_patch_indices.shape[0], num_frames_in_deg))
    backtrace = np.full((ref_patch_indices.shape[0], num_frames_in_deg), -1, dtype=np.int64)
    for patch in range(num_patches):
        low = max(0, ref_patch_indices[patch] - search_window)
        high = min(num_frames_in_deg - 1, ref_patch_indices[patch] + search_window)
        highest, whence = -1e308, -1
        offset = low if patch == 0 else max(0, ref_patch_indices[patch - 1] - search_window)
        while offset <= high:
            if offset >= low:
                best[patch, offset] = similarity[patch, offset]
                if patch > 0:
                    best[patch, offset] += highest
                    backtrace[patch, offset] = whence
                    if best[patch - 1, offset] > best[patch, offset]:
                        best[patch, offset] = best[patch - 1, offset]
                        backtrace[patch, offset] = offset
            # Of equal ones the last.
            if patch > 0 and best[patch - 1, offset] >= highest:
                highest, whence = best[patch - 1, offset], offset
            offset += 1
    return best, backtrace


def manager() -> VisqolManager:
    """ViSQOL v3 in speech mode with the lattice mapping, ready for `run_from_signals`."""
    made = VisqolManager()
    # Left to itself it chooses the mapping by what is installed, and the two differ more than
    # codecs do.
    made.init(use_speech_mode=True, use_lattice_model=True)
    assert isinstance(made.patch_creator, VadPatchCreator)
    made.patch_creator = PatchCreator(made.patch_creator.patch_size)
    made.spect_builder = SpectrogramBuilder(NUM_BANDS_SPEECH, LOWEST, speech_mode=True)
    patch_selector._dp_forward_pass = forward_pass
    # It keeps plans and buffers of each length for a minute of others: gigabytes of them.
    signal_utils.pyfftw.interfaces.cache.set_keepalive_time(1.0)
    return made
