"""A process of `tests/test_pythons.py`, in a Python that has the core alone: codes the golden
streams, without what the tests have.

    python core_worker.py MODEL FOLDER

FOLDER is tests/golden. Fails where a stream decodes to other samples of 16 bits, or latents become
other bytes.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from ecc.audio import to_int16
from ecc.codecs.ecc import EccCodec
from ecc.stream import Header, covered, pack_chunk


def main(model: Path, folder: Path) -> None:
    assert "torch" not in sys.modules
    codec, latents = EccCodec(model), np.load(folder / "latents.npz")
    streams = json.loads((folder / "streams.json").read_text())["streams"]
    for name, said in streams.items():
        data, level = (folder / f"{name}.ecc").read_bytes(), said["level"]
        pcm = to_int16(codec.decode(data)).astype("<i2")
        assert hashlib.sha256(pcm.tobytes()).hexdigest() == said["heard"], name
        header = Header(codec.model_id, said["samples"], level, codec.skip).pack()
        stream = header
        for number in range(codec.codec.count_chunks(said["samples"])):
            y, place = latents[f"{name}.{number}"].astype(np.float64), covered(header, number)
            payload, _ = codec.codec.entropy.compress(y, level, codec.skip, place)
            stream += pack_chunk(header, number, payload)
        assert stream == data, name
    print(len(streams), "streams")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
