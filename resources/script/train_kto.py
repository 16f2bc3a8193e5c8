from trl import KTOConfig, KTOTrainer


def make_trainer(common, **parts):
    return KTOTrainer(args=KTOConfig(**common, beta=BETA, max_length=MAX_LENGTH), **parts)
