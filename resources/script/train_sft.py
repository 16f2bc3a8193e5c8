import torch
from trl import SFTConfig, SFTTrainer


class RowOrder(torch.utils.data.Sampler):
    """The order of the rows: decided by seed and epoch. Rows of like length go together, in random batches."""

    def __init__(self, lengths):
        self.lengths, self.epoch = lengths, 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return len(self.lengths)

    def __iter__(self):
        generator = torch.Generator().manual_seed(SEED * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        if not GROUP_BY_LENGTH:
            return iter(order)
        size, batches = MICRO_BATCH_SIZE * GRADIENT_ACCUMULATION_STEPS, []
        for start in range(0, len(order), 50 * size):
            pool = sorted(order[start : start + 50 * size], key=lambda row: -self.lengths[row])
            batches += [pool[i : i + size] for i in range(0, len(pool), size)]
        full = [batch for batch in batches if len(batch) == size]
        rest = [batch for batch in batches if len(batch) < size]
        shuffled = [full[i] for i in torch.randperm(len(full), generator=generator).tolist()]
        return iter([row for batch in shuffled + rest for row in batch])


class Trainer(SFTTrainer):
    """TRL's trainer with that order, and with the eval loss as the mean over all learned tokens."""

    drawn = -1, 0

    def _get_train_sampler(self, train_dataset=None):
        return RowOrder([len(ids) for ids in self.train_dataset["input_ids"]])

    def training_step(self, *args, **kwargs):
        # What is random in a micro-batch depends on the seed, the step and the micro-batch's place in it.
        step, place = self.drawn
        self.drawn = step, place = self.state.global_step, place + 1 if step == self.state.global_step else 0
        torch.manual_seed(SEED * 1_000_003 + step * 4_099 + place)
        return super().training_step(*args, **kwargs)

    def evaluate(self, *args, **kwargs):
        self.model.eval()
        total, count = 0.0, 0
        with torch.no_grad():
            for batch in self.get_eval_dataloader():
                batch = self._prepare_inputs(batch)
                learned = int((batch["labels"][:, 1:] != -100).sum())
                total += float(self.compute_loss(self.model, batch)) * learned
                count += learned
        self._metrics["eval"].clear()
        self.model.train()
        return {"eval_loss": total / count}


def make_trainer(common, **parts):
    arguments = SFTConfig(**common, max_length=None, packing=False, dataset_kwargs={"skip_prepare_dataset": True})
    return Trainer(args=arguments, **parts)
