"""Neural codecs of others from the weights that their authors published, through `transformers`.

The weights lie in a folder, as `hf download` of a pinned revision leaves it: `config.json` and
`model.safetensors`. Nothing is fetched here, and no code comes with them: the networks are those of
the installed package. docs/codecs.md says how to have them take part.
"""

from abc import abstractmethod
from collections.abc import Collection
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ecc.codecs.tokens import TokenCodec, Tokens
from ecc.errors import CodecUnavailable
from ecc.files import sha256_of

CONFIG, WEIGHTS = "config.json", "model.safetensors"


class Peer(TokenCodec):
    """A codec of `transformers` with the first `codebooks` of its code books.

    Args:
        codebooks: tokens of a frame, which set the rate.
        weights: a folder with `config.json` and `model.safetensors`.
        repository: where on the hub they are from.
        revision: commit of the repository.
        sha256: of `model.safetensors`.

    Raises:
        CodecUnavailable: the package or the weights are missing, or the weights are other ones.
        ValueError: a pin is not given, or the codec does not have that number of code books.
    """

    network: ClassVar[str]
    """Name of the class in `transformers`."""

    def __init__(
        self, codebooks: int, weights: str, repository: str, revision: str, sha256: str
    ) -> None:
        if not revision or not sha256:
            page = f"https://huggingface.co/{repository}/blob/{revision or 'main'}/{WEIGHTS}"
            raise ValueError(f"{repository} needs a revision and a sha256, which {page} shows")
        try:
            import transformers
        except ImportError as error:
            raise CodecUnavailable(f"{error}; pip install 'ecc-speech[peers]' has it") from None
        find_weights(Path(weights), repository, revision, sha256)
        transformers.utils.logging.disable_progress_bar()  # each process would show one
        self.model, found = getattr(transformers, self.network).from_pretrained(
            weights,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
        # They would be random numbers, with no more than a warning.
        if missing := {*found["missing_keys"], *found["mismatched_keys"]}:
            raise CodecUnavailable(
                f"{repository}: transformers {transformers.__version__} misses {len(missing)} of "
                f"its weights, such as {min(map(str, missing))}"
            )
        self.model.eval()
        self.sample_rate, self.hop, numbers = self.layout(self.model.config)
        if codebooks not in numbers:
            known = ", ".join(map(str, sorted(numbers)))
            raise ValueError(f"{repository} has {known} code books, not {codebooks}")
        self.codebooks = codebooks
        self.token_bits = (self.model.config.codebook_size - 1).bit_length()
        self.version = (
            f"{repository} {revision[:7]}, transformers {transformers.__version__}, "
            f"torch {torch.__version__}"
        )

    @abstractmethod
    def layout(self, config: Any) -> tuple[int, int, Collection[int]]:
        """Hz, samples of a frame, and the numbers of code books that the codec was trained for."""

    @abstractmethod
    def quantize(self, x: Tensor) -> Tensor:
        """Samples [1, 1, frames * hop] -> tokens [codebooks, frames]."""

    @abstractmethod
    def synthesize(self, tokens: Tensor) -> Tensor:
        """Tokens [1, codebooks, frames] -> samples [T]."""

    def tokens(self, samples: npt.NDArray[np.float32]) -> Tokens:
        with torch.inference_mode():
            return self.quantize(torch.from_numpy(samples)[None, None]).numpy()

    def samples(self, tokens: Tokens) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            return self.synthesize(torch.from_numpy(tokens)[None]).numpy()


class EnCodec(Peer):
    """EnCodec (Défossez et al., "High fidelity neural audio compression", 2022) at 24 kHz."""

    network = "EncodecModel"

    def layout(self, config: Any) -> tuple[int, int, Collection[int]]:
        return config.sampling_rate, config.hop_length, trained_numbers(config)

    def quantize(self, x: Tensor) -> Tensor:
        bandwidth = kbps(self.codebooks, self.model.config)
        return self.model.encode(x, bandwidth=bandwidth).audio_codes[0, 0]

    def synthesize(self, tokens: Tensor) -> Tensor:
        return self.model.decode(tokens[None], [None]).audio_values[0, 0]


class Dac(Peer):
    """DAC (Kumar et al., "High-fidelity audio compression with improved RVQGAN", 2023)."""

    network = "DacModel"

    def layout(self, config: Any) -> tuple[int, int, Collection[int]]:
        return config.sampling_rate, config.hop_length, range(1, config.n_codebooks + 1)

    def quantize(self, x: Tensor) -> Tensor:
        return self.model.encode(x, n_quantizers=self.codebooks).audio_codes[0]

    def synthesize(self, tokens: Tensor) -> Tensor:
        return self.model.decode(audio_codes=tokens).audio_values[0]


class Mimi(Peer):
    """Mimi (Défossez et al., "Moshi: a speech-text foundation model for real-time dialogue",
    2024), whose first code book is for what is said."""

    network = "MimiModel"

    def layout(self, config: Any) -> tuple[int, int, Collection[int]]:
        return config.sampling_rate, config.frame_size, range(1, config.num_quantizers + 1)

    def quantize(self, x: Tensor) -> Tensor:
        return self.model.encode(x, num_quantizers=self.codebooks).audio_codes[0]

    def synthesize(self, tokens: Tensor) -> Tensor:
        return self.model.decode(tokens).audio_values[0, 0]


class XCodec(Peer):
    """X-Codec (Ye et al., "Codec does matter: exploring the semantic shortcoming of codec for
    audio language model", 2025), which hears with HuBERT or WavLM beside its own encoder."""

    network = "XcodecModel"

    def layout(self, config: Any) -> tuple[int, int, Collection[int]]:
        return config.sample_rate, config.hop_length, trained_numbers(config)

    def quantize(self, x: Tensor) -> Tensor:
        bandwidth = kbps(self.codebooks, self.model.config)
        return self.model.encode(x, bandwidth=bandwidth).audio_codes[0]

    def synthesize(self, tokens: Tensor) -> Tensor:
        return self.model.decode(tokens).audio_values[0, 0]


def kbps(codebooks: int, config: Any) -> float:
    """The rate by which EnCodec and X-Codec are told how many code books to use."""
    return codebooks * config.frame_rate * config.codebook_nbits / 1000


def trained_numbers(config: Any) -> set[int]:
    """The numbers of code books of the rates that EnCodec and X-Codec were trained for."""
    return {round(rate / kbps(1, config)) for rate in config.target_bandwidths}


def find_weights(folder: Path, repository: str, revision: str, sha256: str) -> None:
    """CodecUnavailable, with the command that brings it, for a file that is missing or another."""
    command = f"run hf download {repository} {CONFIG} {WEIGHTS} --revision {revision} "
    for path in (folder / CONFIG, folder / WEIGHTS):
        if not path.is_file():
            raise CodecUnavailable(f"{path} is missing; {command}--local-dir {folder}")
    if (actual := sha256_of(folder / WEIGHTS)) != sha256:
        raise CodecUnavailable(
            f"{folder / WEIGHTS} is another file, SHA-256 {actual}, not {sha256}; "
            f"{command}--local-dir {folder}"
        )
