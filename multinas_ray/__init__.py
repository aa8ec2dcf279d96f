"""One neural architecture search, K networks."""
