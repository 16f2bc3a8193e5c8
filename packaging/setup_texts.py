"""What the set-up's window says."""

TEXTS = {
    "title": "Setting up SLM Studio",
    "intro": "This is done once, and takes some minutes. You can go on working meanwhile.",
    "amount": "Downloads about {download}\u00a0GB; takes about {disk}\u00a0GB of disk.",
    "amount_card": "Downloads about {download}\u00a0GB, most of it for your NVIDIA card; takes about "
                   "{disk}\u00a0GB of disk.",
    "amount_none": "Everything it needs is here: nothing is downloaded. Takes about {disk}\u00a0GB of disk.",
    "starting": "Starting …",
    "seconds": "{seconds} s",
    "minutes": "{minutes} min {seconds} s",
    "there_already": "there already",
    "cancel": "Cancel",
    "cancelling": "Cancelling …",
    "cancelling_text": "Finishing what cannot be cut short …",
    "cancelled": "The set-up was cancelled. What is done is kept: the next start goes on where this one stopped.",
    "again": "Try again",
    "go_on": "Go on",
    "close": "Close",
    "copy": "Copy log",
    "copied": "Copied",
    "show": "Show log",
    "hide": "Hide log",
    "no_log": "Nothing has been written to the log yet.",
    "ask": "Stop the set-up? What is done is kept: the next start goes on where this one stops.",
    "stop": "Stop",
    "keep_on": "Keep going",
    "done": "SLM Studio is set up.",
    "open": "Open SLM Studio",
    "open_in": "Open SLM Studio ({seconds})",
    "not_started": "The set-up could not be started: {error}. Install SLM Studio again.",
}
DOWNLOADS = {False: ("0.6", "3"), True: ("3.3", "9")}
"""Gigabytes to download and on the disk, by whether there is an NVIDIA driver. Roughly: builds differ."""
