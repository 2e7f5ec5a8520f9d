from actorrl.algorithms.ppo import PPO
import gymnasium as gym

# Restore trained algorithm
algo = PPO.from_checkpoint("/path/to/checkpoint")

# Create environment for evaluation
env = gym.make("CartPole-v1")

# Run episodes with trained agent
for episode in range(2):
    obs, info = env.reset()
    done = False
    total_reward = 0

    while not done:
        action = algo.compute_single_action(obs)
        obs, reward, terminated, truncated, info = env.step(action)
        done = terminated or truncated
        total_reward += reward
        env.render()

    print(f"Episode {episode}: Total reward = {total_reward}")

env.close()
algo.stop()
