from actorrl import EnvContext
from actorrl.algorithms.dqn import DQNConfig
import gymnasium as gym

class CustomEnv(gym.Env):
    def __init__(self, config: EnvContext):
        self.action_space = gym.spaces.Discrete(2)
        self.observation_space = gym.spaces.Box(-1, 1, shape=(4,))
        self.config = config

    def reset(self):
        return self.observation_space.sample()

    def step(self, action):
        obs = self.observation_space.sample()
        reward = 1.0 if action == 1 else 0.0
        done = False
        info = {}
        return obs, reward, done, info

# Register environment
from actorrl import register_env
register_env("custom_env", lambda config: CustomEnv(config))

# Train on custom environment
config = (DQNConfig()
    .environment(env="custom_env", env_config={"param": "value"})
    .training(lr=0.001))

algo = config.build()

for i in range(2):
    result = algo.train()
    print(f"Episode reward: {result['episode_reward_mean']}")

algo.stop()
