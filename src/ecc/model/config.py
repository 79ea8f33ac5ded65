"""What shapes the network of a model. Kept apart from the networks so that reading
`params.yaml` imports no PyTorch."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from ecc.config import Config

if TYPE_CHECKING:
    from typing import Self  # not before Python 3.11

SCALES = 64  # entries of the table of standard deviations
MAX_LEVELS = 64
MAX_SKIP = 15  # the stream holds the threshold in four bits
CHUNK_FRAMES = 1024  # latent frames that are coded together; part of the stream format
# Latent frames on either side of a chunk that the transform sees too, so that chunks join without
# a seam. Part of the stream format, as the length of a chunk is.
CONTEXT_FRAMES = 16
MOMENTUM = 0.99  # of the projections behind g_s, the value of Perraudin et al.


def _odd(taps: int) -> int:
    if taps % 2 == 0:
        raise ValueError("must be odd")
    return taps


Taps = Annotated[int, Field(ge=1), AfterValidator(_odd)]


class TransformConfig(Config):
    """Sizes of the STFT and of the networks around the latent.

    With Lyra's transform these networks stand beside a linear map of its features, and without
    blocks there is none.
    """

    kind: Literal["stft", "lyra"] = "stft"  # what is around the networks
    tune_decoder: bool = False  # that of Lyra is trained on, and part of the model
    n_fft: Annotated[int, Field(ge=64, le=4096)] = 640
    hop: Annotated[int, Field(ge=16, le=2048)] = 160
    stack: Annotated[int, Field(ge=1, le=8)] = 2  # STFT frames in one latent frame
    power: Annotated[float, Field(gt=0, le=1)] = 0.3  # compression of the magnitudes
    width: Annotated[int, Field(ge=8, multiple_of=4)] = 192
    hidden: Annotated[int, Field(ge=8)] = 384
    analysis_blocks: Annotated[int, Field(ge=0)] = 3
    synthesis_blocks: Annotated[int, Field(ge=0)] = 4
    attention: Annotated[int, Field(ge=0)] = 1  # linear-attention layers on each side
    channels: Annotated[int, Field(ge=1)] = 64  # of y
    # Steps of Griffin and Lim's algorithm after g_s: those that training goes through, and those of
    # the decoder.
    projections: Annotated[int, Field(ge=0)] = 0
    decoder_projections: Annotated[int, Field(ge=0, le=100)] = 0


class EntropyConfig(Config):
    """Sizes of the entropy model, and a switch for each of its parts."""

    slices: Annotated[int, Field(ge=1)] = 4
    width: Annotated[int, Field(ge=8, multiple_of=4)] = 96
    z_channels: Annotated[int, Field(ge=1)] = 16
    z_stride: Annotated[int, Field(ge=1)] = 4  # latent frames in one frame of z
    hyperprior: bool = True
    context: bool = True  # slices see those before them
    # Latent frames that each group of frames sees, odd. There are as many groups as entries, and
    # frames of a later one lie halfway between those of earlier ones; one group: all at once.
    taps: list[Taps] = Field(default=[3], min_length=1, max_length=6)
    lrp: bool = True
    attention: Annotated[int, Field(ge=0)] = 1  # linear-attention layers in h_s
    skip: Annotated[int, Field(ge=0, le=MAX_SKIP)] = 5  # scale indexes below are not coded; 0: none


class TokenConfig(Config):
    """Sizes of the model of the tokens of a residual vector quantizer."""

    width: Annotated[int, Field(ge=8)] = 256
    taps: Taps = 7  # latent frames that it sees


class RvqConfig(Config):
    """Residual vector quantization in the place of the entropy model."""

    # Stages that each quality level uses, ascending; none: the entropy model is there instead.
    stages: list[Annotated[int, Field(ge=1)]] = Field(default_factory=list, max_length=MAX_LEVELS)
    bits: Annotated[int, Field(ge=1, le=12)] = 10  # of a token: 2 ** bits entries a stage
    # Those of Lyra's own quantizer are neither trained nor part of a model file.
    codebooks: Literal["learned", "lyra"] = "learned"
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.99  # of the averages that code books follow
    commitment: Annotated[float, Field(ge=0)] = 0.25  # weight of the error of y_hat in training
    tokens: TokenConfig | None = None  # a model of the tokens, for post-hoc entropy coding


class CodecConfig(Config):
    """Everything that shapes the network of one model."""

    transform: TransformConfig = TransformConfig()
    entropy: EntropyConfig = EntropyConfig()
    rvq: RvqConfig = RvqConfig()
    levels: Annotated[int, Field(ge=1, le=MAX_LEVELS)] = 1  # rates that one model serves

    @model_validator(mode="after")
    def _levels_are_those_of_the_stages(self) -> "Self":
        if self.rvq.stages and len(self.rvq.stages) != self.levels:
            raise ValueError("rvq.stages: there must be as many as levels")
        return self

    @model_validator(mode="after")
    def _lyras_code_books_are_for_lyras_features(self) -> "Self":
        if self.rvq.codebooks == "lyra" and not (
            self.transform.kind == "lyra"
            and self.transform.channels == 64
            and self.rvq.bits == 4
            and max(self.rvq.stages, default=0) <= 46
        ):
            raise ValueError(
                "rvq.codebooks: those of Lyra are for its transform, 64 channels, 4 bits and at "
                "most 46 stages"
            )
        return self

    def relevant(self) -> dict[str, Any]:
        """What the network follows from: all but the parts that this model does not have, whose
        parameters may change without it."""
        config = self.model_dump(mode="json")
        transform, rvq = config["transform"], config["rvq"]
        absent = {"tune_decoder"}
        if transform["kind"] == "lyra":
            absent = {"projections", "decoder_projections"}
            if not transform["analysis_blocks"]:
                absent |= {"n_fft", "hop", "stack", "power"}
                if not transform["synthesis_blocks"]:
                    absent |= {"width", "hidden", "attention"}
        for key in absent:
            del transform[key]
        if not rvq["stages"]:
            return {key: config[key] for key in ("transform", "entropy", "levels")}
        if rvq["tokens"] is not None:  # what they are tokens of is trained already
            del rvq["decay"], rvq["commitment"]
        return {key: config[key] for key in ("transform", "rvq", "levels")}
