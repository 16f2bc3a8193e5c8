import math
import os

import torch
from transformers import PreTrainedTokenizerFast, TrainerCallback, set_seed
from transformers.trainer_callback import PrinterCallback, ProgressCallback


class Report(TrainerCallback):
    """Prints the losses, a line a step, and evaluates before the first step, in between and after the last."""

    trainer = None
    evaluated = -1

    def on_train_begin(self, args, state, control, **kwargs):
        self.evaluate(state)

    def on_log(self, args, state, control, logs, **kwargs):
        if "loss" not in logs:
            return
        print(f"step {state.global_step}/{state.max_steps} loss {logs['loss']:.8f} "
              f"learning_rate {logs['learning_rate']:.3e}", flush=True)
        if state.global_step % EVAL_STEPS == 0 and state.global_step < state.max_steps:
            self.evaluate(state)

    def on_train_end(self, args, state, control, **kwargs):
        if self.evaluated != state.global_step:
            self.evaluate(state)

    def evaluate(self, state):
        if self.trainer.eval_dataset is not None:
            self.evaluated = state.global_step
            loss = self.trainer.evaluate()["eval_loss"]
            print(f"step {state.global_step}/{state.max_steps} eval_loss {loss:.8f}", flush=True)


def choose_strength(trainer):
    """Apply the adapter as strongly as is best on the rows that are only evaluated."""
    factors = [(weight, weight.detach().clone()) for name, weight in trainer.model.named_parameters()
               if weight.requires_grad and ("lora_B" in name or "lora_embedding_B" in name)]

    def loss_at(strength):
        with torch.no_grad():
            for weight, trained in factors:
                weight.copy_(trained * strength)
        losses[strength] = trainer.evaluate()["eval_loss"]
        print(f"strength {strength:g} eval_loss {losses[strength]:.8f}", flush=True)
        return losses[strength]

    losses, rows = {}, len(trainer.eval_dataset)
    trainer.eval_dataset = trainer.eval_dataset.select(range(0, rows, math.ceil(rows / MOST_TRIED_ON)))
    best = loss_at(1.0)
    for strength in WEAKER:
        if loss_at(strength) >= best:
            break
        best = losses[strength]
    if best == losses[1.0]:
        loss_at(STRONGER)
    loss_at(min(losses, key=losses.get))


def main():
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # one process uses one card
    if THREADS:
        torch.set_num_threads(THREADS)
    set_seed(SEED)
    # Not by AutoTokenizer, which puts parts of its own in the place of some models' own.
    tokenizer = PreTrainedTokenizerFast.from_pretrained(MODEL, local_files_only=True)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if CHAT_TEMPLATE:
        tokenizer.chat_template = CHAT_TEMPLATE
    train_rows = load_rows(TRAIN_FILE, tokenizer)
    eval_rows = load_rows(EVAL_FILE, tokenizer) if EVAL_FILE.stat().st_size else None
    model, adapter = load_model()
    updates = math.ceil(math.ceil(len(train_rows) / MICRO_BATCH_SIZE) / GRADIENT_ACCUMULATION_STEPS)
    total_steps = MAX_STEPS or max(1, math.ceil(EPOCHS * updates))
    has_adapter, on_gpu = METHOD in ("lora", "qlora"), DEVICE != "cpu" and torch.cuda.is_available()
    common = dict(
        output_dir=str(OUTPUT / "trainer"),
        max_steps=total_steps,
        per_device_train_batch_size=MICRO_BATCH_SIZE,
        per_device_eval_batch_size=MICRO_BATCH_SIZE,
        gradient_accumulation_steps=GRADIENT_ACCUMULATION_STEPS,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type=LR_SCHEDULER,
        warmup_steps=math.ceil(WARMUP_FRACTION * total_steps),
        weight_decay=WEIGHT_DECAY,
        max_grad_norm=MAX_GRAD_NORM,
        optim=OPTIMIZER,
        bf16=PRECISION == "bf16" and (on_gpu or not has_adapter),
        fp16=PRECISION == "fp16",
        activation_checkpointing=GRADIENT_CHECKPOINTING,
        neftune_noise_alpha=NEFTUNE_NOISE_ALPHA or None,
        torch_compile=TORCH_COMPILE,
        use_cpu=not on_gpu,
        seed=SEED,
        data_seed=SEED,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        eval_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    report = Report()
    trainer = make_trainer(
        common,
        model=model,
        train_dataset=train_rows,
        eval_dataset=eval_rows,
        processing_class=tokenizer,
        peft_config=adapter,
        callbacks=[report],
    )
    report.trainer = trainer
    for noisy in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(noisy)
    if has_adapter:
        for weight in trainer.model.parameters():
            if weight.requires_grad:
                weight.data = weight.data.float()  # bf16 cannot hold the small updates at the end
    if USE_LIGER_KERNEL:
        from transformers.integrations.liger import apply_liger_kernel

        apply_liger_kernel(trainer.model, {"fused_linear_cross_entropy": False})
    trainer.train()
    if has_adapter and USE_BEST_CHECKPOINT and not USE_DORA and OBJECTIVE in ("sft", "text") and eval_rows is not None:
        choose_strength(trainer)
    trainer.save_model(str(OUTPUT))
    print(f"saved in {OUTPUT}")


if __name__ == "__main__":
    main()
