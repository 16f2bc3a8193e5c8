#!/bin/sh
# Without words, or with files, SLM Studio's window; "setup" sets it up; anything else is a command of its terminal.
python=${SLMSTUDIO_PYTHON:-/usr/bin/python3}
bootstrap=/usr/share/slmstudio/packaging/bootstrap.py
case ${1-} in
    setup) exec "$python" -B "$bootstrap" "$@" ;;
    "" | --quit-after-paint) exec "$python" -B "$bootstrap" start "$@" ;;
    -*) exec "$python" -B "$bootstrap" command "$@" ;;
    */* | *.*) exec "$python" -B "$bootstrap" start "$@" ;;
    *) exec "$python" -B "$bootstrap" command "$@" ;;
esac
