"""ECC: an entropy-constrained neural speech codec, and the study around it.

>>> import ecc
>>> codec = ecc.load()                        # or ecc.load("name"), ecc.load("file.safetensors")
>>> stream = codec.encode(samples)            # float32 [T], 16 kHz mono -> bytes of an .ecc file
>>> decoded = codec.decode(stream)            # the bytes are enough, and say the level
>>> decoded.shape == samples.shape
True

A model serves several rates. `level` chooses one, 0 the lowest; `encode_within` finds the highest
that a rate allows:

>>> low = ecc.load(level=0).encode(samples)
>>> stream = codec.encode_within(samples, kbps=50)
>>> len(low) <= len(stream) <= 50_000 / 8 * len(samples) / 16_000
True

Both directions also go piece by piece, from and to file-like objects (`ecc.streaming`):

>>> with ecc.open("long.ecc", "w", samples=len(samples)) as file:
...     file.write(samples[:8000])
...     file.write(samples[8000:])
>>> with ecc.open("long.ecc") as file:
...     sum(len(block) for block in file) == file.samples
True

Samples come from any audio file, and go into one:

>>> from ecc import audio
>>> samples = audio.read("speech.flac")       # resampled to 16 kHz, channels averaged
>>> audio.write("decoded.wav", codec.decode(codec.encode(samples)))
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecc.codecs.ecc import EccCodec
    from ecc.streaming import open as open
else:

    def __getattr__(name: str) -> object:
        """`open`, imported when it is asked for: it imports NumPy and all that codes."""
        if name != "open":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from ecc import streaming

        return streaming.open


def load(
    model: str | None = None,
    *,
    level: int | None = None,
    skip: int | None = None,
    models: str | Path | None = None,
) -> "EccCodec":
    """A trained model, ready to code.

    Args:
        model: its name in the folder `models`, or the path of its file; if None, the model `ecc`,
            or the only one there is.
        level: quality level to encode with, 0 the lowest rate; the highest if None.
        skip: entropy-skip threshold to encode with; that of the training if None.
        models: folder of trained models; if None, $ECC_MODELS, or data/models, here or in the
            checkout that this package is part of; then what the wheel brought; then what
            `ecc models fetch` put among the user's data.

    Raises:
        ecc.model.files.ModelError: no such model, or a damaged file.
        ValueError: the model has no such level, or no stream holds that threshold.
    """
    from ecc.codecs.ecc import EccCodec
    from ecc.model.files import find_model
    from ecc.shipped import find

    folder = None if models is None else Path(models)
    return EccCodec(find(find_model, model, folder), level, skip)
