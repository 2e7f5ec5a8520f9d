"""Settings of the network, with RLlib's names. No torch is imported here."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from actorrl.config import Config

Activation = Literal["tanh", "relu", "elu", "silu", "swish", "linear"]
Size = Annotated[int, Meta(ge=1)]
# No bounds inside this union, msgspec 0.22 crashes on them: `validate` looks instead.
Filter = tuple[int, int | tuple[int, int], int]
ConvFilters = Literal["nature", "impala"] | list[Filter]


class ModelConfig(Config):
    """What the body of a network looks like; heads follow from policy and action space."""

    NEUTRAL: ClassVar[dict[str, Any]] = {
        "use_attention": False,
        "no_final_linear": False,
        "encoder_latent_dim": None,
        "always_check_shapes": False,
        "_time_major": False,
        "_disable_preprocessor_api": False,
        "_disable_action_flattening": False,
        "lstm_use_prev_action_reward": False,
        "uses_new_env_runners": False,
        "attention_num_transformer_units": 1,
        "attention_dim": 64,
        "attention_num_heads": 1,
        "attention_head_dim": 32,
        "attention_memory_inference": 50,
        "attention_memory_training": 50,
        "attention_position_wise_mlp_dim": 32,
        "attention_init_gru_gate_bias": 2.0,
        "attention_use_n_prev_actions": 0,
        "attention_use_n_prev_rewards": 0,
        "num_framestacks": "auto",
        "log_std_clip_param": 20.0,
        **dict.fromkeys(
            f"{layers}_{what}_initializer{config}"
            for layers in ("fcnet", "post_fcnet", "conv", "conv_transpose", "lstm")
            for what in ("weights", "bias", "kernel")
            for config in ("", "_config")
        ),
        # RLlib's Atari defaults; env_config has the settings of our Atari environments.
        "dim": 84,
        "grayscale": False,
        "framestack": True,
        "zero_mean": True,
    }

    fcnet_hiddens: Annotated[
        list[Size],
        Meta(description="layer sizes for vector observations"),
    ] = msgspec.field(default_factory=lambda: [64, 64])
    fcnet_activation: Annotated[
        Activation, Meta(description="activation of the fully connected layers")
    ] = "tanh"
    conv_filters: Annotated[
        ConvFilters | None,
        Meta(
            description="body for images: nature, impala, or [[channels, kernel, stride], ...]; "
            "null chooses by the image's size",
        ),
    ] = None
    conv_activation: Annotated[
        Activation, Meta(description="activation after convolutions (not of impala)")
    ] = "relu"
    post_fcnet_hiddens: Annotated[
        list[Size],
        Meta(description="layers after the body (and after the LSTM), before the heads"),
    ] = msgspec.field(default_factory=list)
    post_fcnet_activation: Annotated[
        Activation | None,
        Meta(
            description="activation of those layers; null: fcnet_activation",
        ),
    ] = None
    vf_share_layers: Annotated[
        bool | None,
        Meta(
            description="policy and value share one body; null: for images and with an LSTM, since "
            "the value's larger gradients spoil a small shared body",
        ),
    ] = None
    free_log_std: Annotated[
        bool,
        Meta(
            description="log-deviations of continuous actions are variables of their own, the same "
            "for all observations"
        ),
    ] = False
    custom_model: Annotated[
        Any,
        Meta(
            description="a TorchModelV2 in the place of the network, or with use_lstm of what is "
            "before the LSTM: class, registered name or import path"
        ),
    ] = None
    custom_model_config: Annotated[
        dict[str, Any], Meta(description="further arguments of the custom model's constructor")
    ] = msgspec.field(default_factory=dict)
    custom_action_dist: Annotated[
        Any,
        Meta(
            description="class, registered name or import path of the action distribution; null: "
            "the action space's own"
        ),
    ] = None
    custom_preprocessor: Annotated[
        Any,
        Meta(
            description="what turns observations into those that the network sees: class derived "
            "from actorrl.Preprocessor, registered name or import path"
        ),
    ] = None
    use_lstm: Annotated[bool, Meta(description="an LSTM after the body")] = False
    lstm_cell_size: Annotated[
        int, Meta(ge=1, description="size of the LSTM's state", extra={"unit": "units"})
    ] = 256
    lstm_use_prev_action: Annotated[
        bool, Meta(description="with an LSTM: the network also sees what was done last")
    ] = False
    lstm_use_prev_reward: Annotated[
        bool, Meta(description="with an LSTM: the network also sees what that brought")
    ] = False
    max_seq_len: (
        Annotated[
            int,
            Meta(
                ge=1,
                description="rows through which the LSTM's gradient flows back; null: a whole "
                "fragment",
                extra={"unit": "env steps"},
            ),
        ]
        | None
    ) = None
    channels_last: Annotated[
        bool,
        Meta(description="train convolutions in channels-last layout (1.3 times as fast on CPUs)"),
    ] = True

    @property
    def post_activation(self) -> Activation:
        return self.post_fcnet_activation or self.fcnet_activation

    def shares_layers(self, is_image: bool) -> bool:
        """Whether policy and value share one body."""
        if self.vf_share_layers is not None:
            return self.vf_share_layers
        return is_image or self.use_lstm

    def validate(self) -> list[str]:
        lines = []
        if not self.use_lstm:
            lines += [
                f"{name}: true without use_lstm, expected false"
                for name in ("lstm_use_prev_action", "lstm_use_prev_reward")
                if getattr(self, name)
            ]
        if self.use_lstm and self.vf_share_layers is False:
            lines.append("vf_share_layers: false together with use_lstm, expected true")
        if isinstance(self.conv_filters, list):
            lines += [
                _positive(filter_) for filter_ in self.conv_filters if min(_flat(filter_)) < 1
            ]
        return lines


def _flat(filter_: Filter) -> list[int]:
    channels, kernel, stride = filter_
    return [channels, *(kernel if isinstance(kernel, tuple) else (kernel,)), stride]


def _positive(filter_: Filter) -> str:
    return f"conv_filters: {filter_} is not accepted, expected [channels, kernel, stride] >= 1"
