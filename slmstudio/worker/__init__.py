"""The heavy side: torch, transformers, trl, peft and llama_cpp. One job is one process."""
