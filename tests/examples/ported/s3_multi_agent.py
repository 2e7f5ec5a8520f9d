from actorrl import MultiAgentEnv, register_env
from actorrl.algorithms.ppo import PPOConfig
import gymnasium as gym

class MultiAgentCustomEnv(MultiAgentEnv):
    def __init__(self, config):
        self.agents = ["agent_1", "agent_2"]
        self.action_space = gym.spaces.Discrete(2)
        self.observation_space = gym.spaces.Box(-1, 1, shape=(4,))

    def reset(self):
        return {agent: self.observation_space.sample()
                for agent in self.agents}

    def step(self, action_dict):
        obs = {agent: self.observation_space.sample()
               for agent in self.agents}
        rewards = {agent: 1.0 for agent in self.agents}
        dones = {"__all__": False}
        infos = {agent: {} for agent in self.agents}
        return obs, rewards, dones, infos

register_env("multi_agent_env", lambda _: MultiAgentCustomEnv({}))

config = (PPOConfig()
    .environment(env="multi_agent_env")
    .multi_agent(
        policies={
            "policy_1": (None, None, None, {}),
            "policy_2": (None, None, None, {}),
        },
        policy_mapping_fn=lambda agent_id, episode, **kwargs:
            "policy_1" if agent_id == "agent_1" else "policy_2"
    ))

algo = config.build()

for i in range(2):
    result = algo.train()
    print(f"Iteration {i}: {result['episode_reward_mean']}")

algo.stop()
