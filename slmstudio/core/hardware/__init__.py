"""What the machine has and how hot it runs: NVML, processor, memory, file systems, WSL."""
