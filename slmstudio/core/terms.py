"""What the field's words mean, in two sentences each: for "What does this mean?", tooltips and the glossary."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """One word.

    Attributes:
        name: as the window writes it in English; the window translates it, and looks terms up by their keys.
        what: one sentence on what it is.
        so: one sentence on what to make of it.
    """

    name: str
    what: str
    so: str

    @property
    def text(self) -> str:
        return f"{self.what} {self.so}"


TERMS: dict[str, Term] = {key: Term(*words) for key, words in {
    "row": ("Row", "One example of your data: a question with its answer, a conversation, a pair of answers, or "
            "a piece of text.", "A few hundred good rows teach a way of answering; knowledge takes many more."),
    "token": ("Token", "A piece of text as the model reads it: a short word, or a part of a longer one.",
              "Languages that the model has seen little of take more tokens for the same text, and so more time and "
              "memory."),
    "base_model": ("Base model", "The model that learning starts from, as somebody else has trained it.",
                   "It stays as it is; what your data teaches is kept beside it or in a copy."),
    "adapter": ("Adapter", "A small set of weights that is put on a base model and holds what your data has taught.",
                "It takes a few megabytes, works with its own base model only, and can be taken off again."),
    "lora": ("LoRA", "A method that trains an adapter while the base model's own weights stay as they are.",
             "It needs a fraction of the memory of full fine-tuning and is nearly as good for most data."),
    "qlora": ("QLoRA", "LoRA on a base model that is held in 4 bits instead of 16.",
              "It takes the least memory of all methods and is somewhat slower."),
    "rank": ("Rank", "How many directions an adapter has in each layer: its size.",
             "More can learn more and overfits sooner; 8 to 64 is usual."),
    "alpha": ("Alpha", "How strongly the adapter acts on the base model, in proportion to its rank.",
              "Keep the proposed value unless you change the rank."),
    "train_loss": ("Train loss", "How far the model's guesses are from the rows that it learns; 0 would be perfect.",
                   "It should fall; on its own it doesn't say that the model has become better."),
    "eval_loss": ("Eval loss", "How far the model's guesses are from rows that it never learned.",
                  "This is the figure to trust: where it rises while the train loss falls, the model is overfitting."),
    "perplexity": ("Perplexity", "How many tokens the model hesitates between on average, computed from the loss.",
                   "Lower is better; compare it only between models with the same vocabulary."),
    "overfitting": ("Overfitting", "The model repeats the rows it has learned and gets worse at others.",
                    "Train for fewer epochs, or add rows; the best weights before that are kept."),
    "epoch": ("Epoch", "One pass through all rows.", "One to five are usual; more of them overfit small data."),
    "step": ("Step", "One update of the weights, after a batch of rows.",
             "How many there are follows from rows, epochs and effective batch size."),
    "effective_batch_size": ("Effective batch size", "How many rows are learned from before the weights are updated.",
                             "It is the micro-batch times the accumulation steps; 8 to 32 suits most data."),
    "learning_rate": ("Learning rate", "How far each step moves the weights.",
                      "Too high and the loss jumps or rises; too low and nothing is learned in the time."),
    "gradient_norm": ("Gradient norm", "How strongly a batch wants to change the weights.",
                      "Single peaks are normal; when it keeps rising, lower the learning rate."),
    "tokens_per_second": ("Tokens per second", "How much text is worked through each second, padding not counted.",
                          "It tells how long the rest takes; it says nothing about quality."),
    "sequence_length": ("Sequence length", "The most tokens of one row; longer rows are cut or left out.",
                        "Memory grows with it, so choose what your rows need and no more."),
    "chat_template": ("Chat template", "The marks by which a model tells questions from answers.",
                      "It must be the one that the model was taught with, or its answers don't end where they should."),
    "checkpoint": ("Checkpoint", "The state of a run at one step, saved so that it can be resumed.",
                   "After a crash or a pause, training continues from the newest one."),
    "chrf": ("chrF++", "How many of the letters and words of an answer match the reference, from 0 to 100.",
             "It works for Indian languages too; a difference below 1 or 2 points is rarely noticeable."),
    "bleu": ("BLEU", "How many words and word groups of an answer also appear in the reference, from 0 to 100.",
             "It is for translations; trust chrF++ more where words have many endings."),
    "rouge": ("ROUGE-L", "How long a sequence of words an answer and the reference share, from 0 to 100.",
              "It is for summaries; it doesn't see whether a fact is right."),
    "exact": ("Exact match", "How many answers are the same as the reference, apart from spaces and case.",
              "It is strict: a right answer in other words counts as wrong."),
    "normalised": ("Normalised match", "How many answers are the same as the reference once case, spaces and "
                   "punctuation are ignored.", "It forgives spelling that doesn't matter; other words still count as "
                   "wrong."),
    "number": ("Right number", "How many answers hold the number that the reference holds.",
               "It is for sums and amounts; the words around the number don't count."),
    "pattern": ("Pattern met", "How many answers have the form that the row asks for, as in a date or a code.",
                "It says that the form is right, not that the content is."),
    "token_f1": ("Token F1", "How many words the answer and the reference have in common, from 0 to 100.",
                 "It forgives word order; it doesn't see whether the sentence says the opposite."),
    "accuracy": ("Accuracy", "The share of questions whose right choice the model prefers.",
                 "Compare it with guessing: with four choices that alone gives 25 %."),
    "interval": ("Interval", "The range in which the true value lies in 95 of 100 such tests.",
                 "Where two intervals overlap widely, the test set is too small to tell the models apart."),
    "p_value": ("p", "How often a difference as large as this would come by chance if the models were equally good.",
                "Below 0.05 it is usually taken for real; it doesn't say how large or how useful it is."),
    "verdict": ("Verdict", "Whether the tuned model is better than its base on the test rows, beyond chance.",
                "Better doesn't mean correct: read some answers before you rely on them."),
    "test_set": ("Test set", "Rows with reference answers that the model never learned from.",
                 "Scores on learned rows say nothing about new questions."),
    "judge": ("Judge", "Another model that reads two answers and says which is better.",
              "It has biases of its own, so look at where it disagrees with people."),
    "gguf": ("GGUF", "A file that holds a whole model for programs such as llama.cpp, Ollama and LM Studio.",
             "Export one to use what you trained elsewhere, and for faster answers without a graphics card."),
    "quantization": ("Quantization", "Weights are stored with fewer bits, so that the model is smaller and faster.",
                     "Q8_0 is nearly exact, Q4_K_M is half its size and slightly worse."),
    "proof": ("Proof", "A check that the exported file answers like the model that was trained.",
              "Where it fails, don't use the file; its lines say what differs."),
    "temperature": ("Temperature", "How freely the model chooses its words; 0 always takes the likeliest.",
                    "Use 0 to 0.3 for facts and 0.7 and more for ideas."),
    "top_p": ("Top-p", "Only the likeliest words that together make up this share are chosen from.",
              "0.9 is a good value; lower it where answers stray."),
    "context": ("Context", "The tokens of question, earlier messages and answer that the model has before it at once.",
                "What doesn't fit is forgotten, the oldest messages first."),
    "fit_check": ("Fit check", "A short trial that measures how much memory a plan takes on this machine.",
                  "It is more certain than the estimate and takes less than a minute."),
    "packing": ("Packing", "Several short rows are put into one sequence.",
                "It saves time and changes nothing in what is learned."),
    "dpo": ("DPO", "A method that learns from pairs of a better and a worse answer.",
            "Use it after ordinary training, to make answers preferred rather than to teach facts."),
    "energy": ("Energy", "The electricity that the run has used, measured at the card or estimated.",
               "Its price follows from what you set for a kilowatt-hour."),
    "network_lock": ("Network lock", "Workers are cut off from the network by the system while they have your data.",
                     "What it can't do on your system is said beside it."),
}.items()}


def meaning(key: str) -> str:
    """Two sentences on a term; raises KeyError for one that isn't in the table."""
    return TERMS[key].text


_OF_METRICS = {"accuracy_norm": "accuracy", "numeric": "number", "loss": "eval_loss", "bleu_intl": "bleu",
               "rouge_l": "rouge"}


def of_metric(metric: str) -> str:
    """The key of the term that a score of scores.json is explained by."""
    return _OF_METRICS.get(metric, metric)
