"""What shapes the network of a model. Kept apart from the networks so that reading
`params.yaml` imports no PyTorch."""

from typing import Annotated

from pydantic import Field

from ecc.config import Config

SCALES = 64  # entries of the table of standard deviations
MAX_LEVELS = 64
MAX_SKIP = 15  # the stream holds the threshold in four bits


class TransformConfig(Config):
    """Sizes of the STFT and of the networks around the latent."""

    n_fft: Annotated[int, Field(ge=64, le=4096)] = 640
    hop: Annotated[int, Field(ge=16, le=2048)] = 160
    stack: Annotated[int, Field(ge=1, le=8)] = 2  # STFT frames in one latent frame
    power: Annotated[float, Field(gt=0, le=1)] = 0.3  # compression of the magnitudes
    width: Annotated[int, Field(ge=8, multiple_of=4)] = 192
    hidden: Annotated[int, Field(ge=8)] = 384
    analysis_blocks: Annotated[int, Field(ge=1)] = 3
    synthesis_blocks: Annotated[int, Field(ge=1)] = 4
    attention: Annotated[int, Field(ge=0)] = 1  # linear-attention layers on each side
    channels: Annotated[int, Field(ge=1)] = 64  # of y


class EntropyConfig(Config):
    """Sizes of the entropy model, and a switch for each of its parts."""

    slices: Annotated[int, Field(ge=1)] = 4
    width: Annotated[int, Field(ge=8, multiple_of=4)] = 96
    z_channels: Annotated[int, Field(ge=1)] = 16
    z_stride: Annotated[int, Field(ge=1)] = 4  # latent frames in one frame of z
    hyperprior: bool = True
    context: bool = True  # slices see those before them
    lrp: bool = True
    attention: Annotated[int, Field(ge=0)] = 1  # linear-attention layers in h_s
    skip: Annotated[int, Field(ge=0, le=MAX_SKIP)] = 5  # scale indexes below are not coded; 0: none


class CodecConfig(Config):
    """Everything that shapes the network of one model."""

    transform: TransformConfig = TransformConfig()
    entropy: EntropyConfig = EntropyConfig()
    levels: Annotated[int, Field(ge=1, le=MAX_LEVELS)] = 1  # rates that one model serves
