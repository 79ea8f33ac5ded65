"""The TFLite models of Lyra V2 (github.com/google/lyra), a neural codec, as its authors give them.

    x ──encoder──▶ features ──quantizer──▶ symbols ──quantizer──▶ features^ ──decoder──▶ x̂

64 features every 20 ms; a residual vector quantizer with 16 entries in each of up to 46 stages.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ecc.errors import CodecUnavailable
from ecc.files import sha256_of

FRAME = 320
FEATURES = 64
MAX_STAGES = 46
STAGE_BITS = 4

COMMIT = "47698dadf0010abff6a848e02642f55f806d4842"
SHA256 = {
    "soundstream_encoder.tflite": (
        "237da0b16226fb0a68d49551c81bebf614e42142af72764448359f68581e88f1"
    ),
    "quantizer.tflite": "841ee05989687d32d1f616a8ad1419fc7eda37599d3c05c7cf5a0d60ccf8ac5c",
    "lyragan.tflite": "50e7839cda4f30599a3a34cfaddcd9c98449b049eee884e1a74295780448ad06",
}


def find_weights(folder: str | Path, name: str) -> Path:
    """The file of a model; CodecUnavailable where it is missing or another one."""
    path = Path(folder) / name
    if not path.is_file() or sha256_of(path) != SHA256[name]:
        raise CodecUnavailable(
            f"{path} is missing or another file; run python workflow/stages/fetch_lyra.py"
        )
    return path


class LyraModels:
    """The three models of Lyra V2, each of them callable.

    Raises:
        CodecUnavailable: the package ai-edge-litert or one of the models is missing.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise CodecUnavailable(f"{error}; install the PyPI package ai-edge-litert") from None
        paths = {name: find_weights(folder, name) for name in SHA256}

        def load(name: str) -> Any:
            interpreter = Interpreter(str(paths[name]), num_threads=1)
            interpreter.allocate_tensors()
            return interpreter

        self._load = load
        quantizer = load("quantizer.tflite")
        self._quantize = quantizer.get_signature_runner("encode")
        self._dequantize = quantizer.get_signature_runner("decode")

    def features(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Samples [frames * 320], 16 kHz -> features [frames, 64]; causal, without look-ahead."""
        return self._run("soundstream_encoder.tflite", samples.reshape(-1, 1, FRAME))[:, 0, 0]

    def quantize(
        self, features: npt.NDArray[np.float32], stages: int = MAX_STAGES
    ) -> npt.NDArray[np.int32]:
        """Features [frames, 64] -> symbols 0 … 15 [frames, stages]; frames do not interact."""
        symbols = np.empty((len(features), stages), dtype=np.int32)
        for frame, row in zip(features, symbols, strict=True):
            out = self._quantize(
                input_frames=frame.reshape(1, 1, FEATURES), num_quantizers=np.int32(stages)
            )
            row[:] = out["output_0"].reshape(-1)[:stages]
        return symbols

    def dequantize(self, symbols: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
        """Symbols [frames, stages] -> quantized features [frames, 64]."""
        frames, stages = symbols.shape
        # An index of -1 contributes nothing.
        indices = np.full((frames, MAX_STAGES, 1, 1), -1, dtype=np.int32)
        indices[:, :stages, 0, 0] = symbols
        features = np.empty((frames, FEATURES), dtype=np.float32)
        for index, row in zip(indices, features, strict=True):
            row[:] = self._dequantize(encoding_indices=index)["output_0"].reshape(-1)
        return features

    def codebooks(self) -> npt.NDArray[np.float32]:
        """The entries that symbols stand for, [stages, 16, 64]; the features are their sum."""
        indices = np.full((MAX_STAGES, 1 << STAGE_BITS, MAX_STAGES, 1, 1), -1, dtype=np.int32)
        stages, symbols = np.indices(indices.shape[:2])
        indices[stages, symbols, stages, 0, 0] = symbols
        entries = [
            self._dequantize(encoding_indices=index)["output_0"].reshape(-1)
            for index in indices.reshape(-1, MAX_STAGES, 1, 1)
        ]
        return np.stack(entries).reshape(*indices.shape[:2], FEATURES).astype(np.float32)

    def synthesize(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Features [frames, 64] -> samples [frames * 320], 16 kHz, in [-1, 1]."""
        samples = self._run("lyragan.tflite", features.reshape(-1, 1, 1, FEATURES))
        return np.clip(samples.reshape(-1), -1, 1)

    def _run(self, name: str, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """[frames, *input] -> [frames, *output] of a model that remembers the frames before."""
        # A fresh one for each signal: reset_all_variables() leaves its memory as it is. Loading
        # takes 7 ms.
        interpreter = self._load(name)
        source = interpreter.get_input_details()[0]["index"]
        result = interpreter.get_output_details()[0]
        outputs = np.empty((len(inputs), *result["shape"]), dtype=np.float32)
        for frame, output in zip(inputs, outputs, strict=True):
            interpreter.set_tensor(source, frame)
            interpreter.invoke()
            output[...] = interpreter.get_tensor(result["index"])
        return outputs
