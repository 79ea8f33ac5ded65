import pytest
from pydantic import ValidationError

from ecc.train.config import CropConfig, LossConfig, ModelConfig, TrainConfig


def test_weights_do_not_follow_from_when_they_are_looked_at() -> None:
    config = TrainConfig(steps=1, processes=2)
    often = {"valid_steps": 1, "valid_crops": 1, "checkpoint_seconds": 0}
    for tokens in (False, True):
        relevant = config.relevant(tokens)
        assert config.model_copy(update=often).relevant(tokens) == relevant
        assert TrainConfig(**relevant).relevant(tokens) == relevant
        assert config.model_copy(update={"seed": 1}).relevant(tokens) != relevant
    loss = config.model_copy(update={"loss": LossConfig(power=0.5), "processes": 1})
    assert loss.relevant(tokens=True) == config.relevant(tokens=True)
    assert loss.relevant(tokens=False) != config.relevant(tokens=False)


def test_resolutions_have_mels_and_levels_an_order() -> None:
    with pytest.raises(ValidationError, match="n_fft and mels"):
        LossConfig(n_fft=(256, 512), mels=(40,))
    with pytest.raises(ValidationError, match="n_fft and mels"):
        LossConfig(n_fft=(), mels=())
    with pytest.raises(ValidationError, match="level_high is below"):
        CropConfig(level_low=-10, level_high=-20)
    with pytest.raises(ValidationError, match="sources"):
        ModelConfig(lmbda=[1.0], sources=[])
