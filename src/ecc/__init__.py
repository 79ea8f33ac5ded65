"""ECC: an entropy-constrained neural speech codec, and the study around it.

>>> codec = ecc.load("ecc-2")                 # a trained model, by name or by file
>>> stream = codec.encode(samples)            # float32 [T], 16 kHz mono -> bytes of an .ecc file
>>> samples = codec.decode(stream)
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecc.codecs.ecc import EccCodec


def load(model: str, models: str | Path = "data/models") -> "EccCodec":
    """A trained model by its name in the folder `models`, or by the path of its file.

    Raises:
        ecc.model.weights.ModelError: no such model, or a damaged file.
    """
    # PyTorch takes seconds to import; `import ecc` alone does not need it.
    from ecc.codecs.ecc import EccCodec
    from ecc.model.weights import find_model

    return EccCodec(find_model(model, Path(models)))
