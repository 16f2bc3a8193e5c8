"""What the setup's window says."""

from setup_language import tr

TEXTS = {
    "title": tr("Setting up SLM Studio"),
    "intro": tr("This is done once and takes a few minutes. You can keep working meanwhile."),
    "amount": tr("Downloads about {download}\u00a0GB and needs {disk}\u00a0GB of free disk space."),
    "amount_card": tr("Downloads about {download}\u00a0GB, most of it for your NVIDIA card, and needs {disk}\u00a0GB "
                      "of free disk space."),
    "amount_none": tr("Everything needed is already here, so nothing is downloaded. Setup needs "
                      "{disk}\u00a0GB of free disk space."),
    "starting": tr("Starting …"),
    "seconds": tr("{seconds} s"),
    "minutes": tr("{minutes} min {seconds} s"),
    "there_already": tr("already set up"),
    "cancel": tr("Cancel"),
    "cancelling": tr("Cancelling …"),
    "cancelling_text": tr("Finishing a step that can't be interrupted …"),
    "cancelled": tr("Setup was cancelled. What's done is kept, and the next start continues from there."),
    "again": tr("Try again"),
    "go_on": tr("Continue"),
    "close": tr("Close"),
    "copy": tr("Copy log"),
    "copied": tr("Copied"),
    "show": tr("Show log"),
    "hide": tr("Hide log"),
    "no_log": tr("Nothing has been written to the log yet."),
    "ask": tr("Stop the setup? What's done is kept, and the next start continues from there."),
    "stop": tr("Stop"),
    "keep_on": tr("Keep going"),
    "done": tr("SLM Studio is set up."),
    "open": tr("Open SLM Studio"),
    "open_in": tr("Open SLM Studio ({seconds})"),
    "not_started": tr("Setup couldn't be started: {error}. Install SLM Studio again."),
}
DOWNLOADS = {False: "0.6", True: "3.3"}
"""Gigabytes to download, by whether there is an NVIDIA driver. Roughly: builds differ."""
