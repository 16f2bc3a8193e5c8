from trl.experimental.orpo import ORPOConfig, ORPOTrainer


def make_trainer(common, **parts):
    return ORPOTrainer(args=ORPOConfig(**common, beta=BETA, max_length=MAX_LENGTH), **parts)
