"""What the field's words mean, in two sentences each: for "What does this mean?", tooltips and the glossary."""

from __future__ import annotations

from dataclasses import dataclass

from slmstudio.core.i18n import noop, tr


@dataclass(frozen=True)
class Term:
    """One word.

    Attributes:
        name: as the window writes it in English; the window translates it, and looks terms up by their keys.
        so: one sentence on what to make of it.
    """

    name: str
    what: str
    so: str


TERMS: dict[str, Term] = {key: Term(*words) for key, words in {
    "row": (noop("Row"),
            noop("One example of your data: a question with its answer, a conversation, a pair of answers, or a piece "
                 "of text."), noop("A few hundred good rows teach a way of answering; knowledge takes many more.")),
    "token": (noop("Token"), noop("A piece of text as the model reads it: a short word, or a part of a longer one."),
              noop("Languages that the model has seen little of need more tokens for the same text, so more time and "
                   "memory.")),
    "base_model": (noop("Base model"), noop("The model that training starts from, as somebody else published it."),
                   noop("It stays as it is; what your data teaches is kept beside it or in a copy.")),
    "adapter": (noop("Adapter"),
                noop("A small set of weights on top of a base model. It contains what your data has taught."),
                noop("It takes a few megabytes, works only with its own base model, and can be removed again.")),
    "lora": ("LoRA", noop("A method that trains an adapter while the base model's own weights stay as they are."),
             noop("It needs a fraction of the memory of full fine-tuning and is nearly as good for most data.")),
    "qlora": ("QLoRA", noop("LoRA on a base model that is loaded in 4 bits instead of 16."),
              noop("It needs the least memory of all methods and is somewhat slower.")),
    "rank": (noop("Rank"), noop("How many directions an adapter has in each layer: its size."),
             noop("A higher rank can learn more but overfits sooner; 8 to 64 is usual.")),
    "alpha": (noop("Alpha"), noop("How strongly the adapter acts on the base model, in proportion to its rank."),
              noop("Keep the proposed value unless you change the rank.")),
    "train_loss": (noop("Train loss"),
                   noop("How far the model's guesses are from the rows that it is trained on; 0 would be perfect."),
                   noop("It should fall, but that alone doesn't mean that the model has become better.")),
    "eval_loss": (noop("Eval loss"), noop("How far the model's guesses are from rows that it wasn't trained on."),
                  noop("This is the figure to trust: if it rises while the train loss falls, the model is "
                       "overfitting.")),
    "perplexity": (noop("Perplexity"),
                   noop("How many tokens the model hesitates between on average, computed from the loss."),
                   noop("Lower is better; compare it only between models with the same vocabulary.")),
    "overfitting": (noop("Overfitting"), noop("The model repeats the rows it was trained on and gets worse at others."),
                    noop("Train for fewer epochs, or add rows; the best weights before that are kept.")),
    "epoch": (noop("Epoch"), noop("One pass through all rows."),
              noop("One to five are usual; more overfit a small dataset.")),
    "step": (noop("Step"), noop("One update of the weights, after a batch of rows."),
             noop("Their number depends on the rows, the epochs and the effective batch size.")),
    "effective_batch_size": (noop("Effective batch size"),
                             noop("How many rows go into each update of the weights."),
                             noop("It is the micro-batch times the accumulation steps. Small datasets do well with 4 "
                                  "or 8, large ones with 16 to 32.")),
    "learning_rate": (noop("Learning rate"), noop("How far each step moves the weights."),
                      noop("Too high, and the loss jumps or rises; too low, and nothing is learned in the time "
                           "available.")),
    "gradient_norm": (noop("Gradient norm"), noop("How strongly a batch wants to change the weights."),
                      noop("Occasional peaks are normal; if it keeps rising, lower the learning rate.")),
    "tokens_per_second": (noop("Tokens per second"),
                          noop("How much text is processed each second, not counting padding."),
                          noop("It shows how long the rest will take; it says nothing about quality.")),
    "sequence_length": (noop("Sequence length"), noop("The most tokens of one row; longer rows are cut or left out."),
                        noop("Memory grows with it, so choose what your rows need and no more.")),
    "chat_template": (noop("Chat template"),
                      noop("The markers that show a model where a question ends and an answer begins."),
                      noop("It must be the one that the model was trained with, or its answers don't end where they "
                           "should.")),
    "checkpoint": (noop("Checkpoint"), noop("The state of a run at one step, saved so that it can be resumed."),
                   noop("After a crash or a pause, training continues from the newest one.")),
    "chrf": ("chrF++", noop("How many of the letters and words of an answer match the reference, from 0 to 100."),
             noop("It works for Indian languages too; a difference below 1 or 2 points is rarely noticeable.")),
    "bleu": ("BLEU", noop("How many words and word groups of an answer also appear in the reference, from 0 to 100."),
             noop("It is for translations; trust chrF++ more where words have many endings.")),
    "rouge": ("ROUGE-L", noop("How long a sequence of words an answer and the reference share, from 0 to 100."),
              noop("It is for summaries; it doesn't see whether a fact is right.")),
    "exact": (noop("Exact match"), noop("How many answers are the same as the reference, apart from spaces and case."),
              noop("It is strict: a right answer in other words counts as wrong.")),
    "normalised": (noop("Normalised match"),
                   noop("How many answers are the same as the reference once case, spaces and punctuation are "
                        "ignored."),
                   noop("It forgives spelling that doesn't matter; other words still count as wrong.")),
    "number": (noop("Correct number"), noop("How many answers contain the number in the reference."),
               noop("It is for sums and amounts; the words around the number don't count.")),
    "pattern": (noop("Pattern met"),
                noop("How many answers have the form that the row asks for, such as a date or a code."),
                noop("It says that the form is right, not that the content is.")),
    "token_f1": ("Token F1", noop("How many words the answer and the reference have in common, from 0 to 100."),
                 noop("It forgives word order; it doesn't see whether the sentence says the opposite.")),
    "accuracy": (noop("Accuracy"), noop("The share of questions whose right choice the model prefers."),
                 noop("Compare it with guessing: with four choices, guessing alone gives 25%.")),
    "interval": (noop("Interval"), noop("The range in which the true value lies in 95 of 100 such tests."),
                 noop("If two intervals overlap widely, the test set is too small to tell the models apart.")),
    "p_value": ("p",
                noop("How often a difference as large as this would come by chance if the models were equally good."),
                noop("Below 0.05 the difference is usually taken as real; p doesn't say how large or useful it is.")),
    "verdict": (noop("Verdict"),
                noop("Whether the tuned model is better than its base on the test rows, beyond chance."),
                noop("Better doesn't mean correct: read some answers before you rely on them.")),
    "test_set": (noop("Test set"), noop("Rows with reference answers that the model wasn't trained on."),
                 noop("Scores on training rows say nothing about new questions.")),
    "judge": (noop("Judge"), noop("Another model that reads two answers and says which is better."),
              noop("It has biases of its own, so look at where it disagrees with people.")),
    "gguf": ("GGUF", noop("A file that contains a whole model for programs such as llama.cpp, Ollama and LM Studio."),
             noop("Export one to use what you trained elsewhere, and for faster answers without a graphics card.")),
    "quantization": (noop("Quantization"),
                     noop("Weights are stored with fewer bits, which makes the model smaller and faster."),
                     noop("Q8_0 is nearly exact, Q4_K_M is half its size and slightly worse.")),
    "proof": (noop("Proof"), noop("A check that the exported file answers like the model that was trained."),
              noop("If it fails, don't use the file; its lines say what differs.")),
    "temperature": (noop("Temperature"),
                    noop("How freely the model chooses its words; 0 always takes the most likely one."),
                    noop("Use 0 to 0.3 for facts and 0.7 and more for ideas.")),
    "top_p": ("Top-p", noop("The model chooses only from the most likely words that together make up this share."),
              noop("0.9 is a good value; lower it if answers wander off.")),
    "context": (noop("Context"),
                noop("The tokens of question, earlier messages and answer that the model can see at once."),
                noop("What doesn't fit is forgotten, the oldest messages first.")),
    "fit_check": (noop("Fit check"), noop("A short test that measures how much memory a plan takes on this machine."),
                  noop("It is more certain than the estimate and takes less than a minute.")),
    "activations": (noop("Activations"),
                    noop("What the layers compute for the rows of a step. It is kept until the weights are updated."),
                    noop("They take more memory the longer the rows are; recomputing them saves most of it and costs "
                         "about a fifth of the speed.")),
    "logits": (noop("Logits"), noop("A score for every token of the vocabulary: how likely it is to come next."),
               noop("They take much memory in training if the vocabulary is large.")),
    "near_tie": (noop("Near tie"),
                 noop("Two next tokens that the model finds almost equally likely."),
                 noop("Rounding decides between them, so a different choice there doesn't count against an export.")),
    "nmse": ("NMSE", noop("How far the logits of an exported file are from the model's, relative to their size."),
             noop("0 means equal. Smaller quantization types are further away.")),
    "bf16": ("bf16, fp16, fp32",
             noop("How many bits a number has while the model is trained: 16 (of two kinds) or 32."),
             noop("bf16 halves the memory of fp32 and hardly ever fails; fp16 is for older graphics cards.")),
    "seed": (noop("Seed"), noop("The number that random choices start from, such as which rows are set aside."),
             noop("Any number is as good as another; the same one gives the same result again.")),
    "sft": ("SFT", noop("Supervised fine-tuning: the model learns to give the answers in your rows."),
            noop("It is the usual way to train; DPO can follow it.")),
    "safetensors": ("safetensors", noop("The file format of a model's weights. It contains numbers only."),
                    noop("Such a file can't run a program, which files of older formats can.")),
    "packing": (noop("Packing"), noop("Several short rows are put into one sequence."),
                noop("It saves time and doesn't change what is learned.")),
    "dpo": ("DPO", noop("A method that learns from pairs of a better and a worse answer."),
            noop("Use it after ordinary training, to make answers preferred rather than to teach facts.")),
    "energy": (noop("Energy"), noop("The electricity that the run has used, measured at the card or estimated."),
               noop("Its cost is worked out from the price of a kilowatt-hour that you set.")),
    "network_lock": (noop("Network lock"),
                     noop("Workers are cut off from the network by the system while they have your data."),
                     noop("Settings and tooltips say what it can't do on your system.")),
}.items()}


_OF_METRICS = {"accuracy_norm": "accuracy", "numeric": "number", "loss": "eval_loss", "bleu_intl": "bleu",
               "rouge_l": "rouge"}


def of_metric(metric: str) -> str:
    """The key of the term that a score of scores.json is explained by."""
    return _OF_METRICS.get(metric, metric)


def name(key: str) -> str:
    """What a term is called; raises KeyError for one that isn't in the table."""
    return tr(TERMS[key].name)


def sentences(key: str) -> tuple[str, str]:
    """What it is, and what to make of it."""
    return tr(TERMS[key].what), tr(TERMS[key].so)
