from actorrl import ModelCatalog
from actorrl import TorchModelV2
from actorrl.algorithms.ppo import PPOConfig
import torch
import torch.nn as nn

class CustomModel(TorchModelV2, nn.Module):
    def __init__(self, obs_space, action_space, num_outputs,
                 model_config, name):
        TorchModelV2.__init__(self, obs_space, action_space,
                              num_outputs, model_config, name)
        nn.Module.__init__(self)

        self.shared_layers = nn.Sequential(
            nn.Linear(obs_space.shape[0], 128),
            nn.ReLU(),
            nn.Linear(128, 128),
            nn.ReLU(),
        )

        self.policy_head = nn.Linear(128, num_outputs)
        self.value_head = nn.Linear(128, 1)
        self._value = None

    def forward(self, input_dict, state, seq_lens):
        features = self.shared_layers(input_dict["obs"])
        logits = self.policy_head(features)
        self._value = self.value_head(features).squeeze(1)
        return logits, state

    def value_function(self):
        return self._value

# Register custom model
ModelCatalog.register_custom_model("custom_model", CustomModel)

config = (PPOConfig()
    .environment(env="CartPole-v1")
    .training(model={"custom_model": "custom_model"}))

algo = config.build()

for i in range(2):
    result = algo.train()
    print(f"Reward: {result['episode_reward_mean']}")

algo.stop()
