from trl import DPOConfig, DPOTrainer


def make_trainer(common, **parts):
    return DPOTrainer(args=DPOConfig(**common, beta=BETA, max_length=MAX_LENGTH), **parts)
