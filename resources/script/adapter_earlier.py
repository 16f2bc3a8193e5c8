from peft import PeftModel


def load_model():
    """The model with the adapter of an earlier run, which learns on; no new adapter is put on it."""
    return PeftModel.from_pretrained(load_base(), START_FROM, is_trainable=True), None
