from actorrl.algorithms.ppo import PPOConfig

# Configure PPO algorithm
config = (PPOConfig()
    .environment(env="CartPole-v1")
    .rollouts(num_rollout_workers=2)
    .training(lr=0.0001, train_batch_size=4000)
    .evaluation(evaluation_interval=10))

# Build algorithm
algo = config.build()

# Training loop
for i in range(2):
    result = algo.train()
    print(f"Iteration {i}: reward={result['episode_reward_mean']}")

    # Save checkpoint every 10 iterations
    if i % 10 == 0:
        checkpoint_path = algo.save()
        print(f"Checkpoint saved at {checkpoint_path}")

# Clean up
algo.stop()
