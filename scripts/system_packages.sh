#!/bin/sh
# Sees to the system libraries that pip cannot bring: by apt-get when root, else by naming them.
# Usage: scripts/system_packages.sh runtime|browser|relay|redis
#   runtime  what OpenCV is linked against (libGL, GLib): a bare server has neither
#   browser  Chromium and fonts, for the end-to-end tests
#   relay    coturn, for the end-to-end tests of calls through a TURN server
#   redis    Redis, for the tests of several signaling nodes
set -eu
python=.venv/bin/python

missing() { # what is still to be installed, as Debian package names
    case $1 in
    runtime)
        "$python" -c 'import cv2' 2>/dev/null || echo libgl1 "$glib"
        ;;
    browser)
        command -v chromium >/dev/null || command -v chromium-browser >/dev/null ||
            command -v google-chrome >/dev/null || echo chromium fonts-dejavu-core
        ;;
    relay)
        command -v turnserver >/dev/null || echo coturn
        ;;
    redis)
        command -v redis-server >/dev/null || echo redis-server
        ;;
    esac
}

glib=libglib2.0-0 # named libglib2.0-0t64 since Ubuntu 24.04
if command -v apt-cache >/dev/null && apt-cache show libglib2.0-0t64 >/dev/null 2>&1; then
    glib=libglib2.0-0t64
fi

packages=$(missing "$1")
[ -n "$packages" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing $packages" >&2
    apt-get update -qq
    # shellcheck disable=SC2086  # one word for each package
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >&2
    packages=$(missing "$1")
    [ -n "$packages" ] || exit 0
fi

case $1 in
runtime) echo "OpenCV cannot be loaded: $("$python" -c 'import cv2' 2>&1 | tail -n 1)" >&2 ;;
browser) echo "The end-to-end tests need a Chromium browser." >&2 ;;
relay) echo "The end-to-end tests need a TURN server." >&2 ;;
redis) echo "The tests of several signaling nodes need a Redis server." >&2 ;;
esac
# shellcheck disable=SC2086
echo "Install the missing system packages; on Debian or Ubuntu: sudo apt-get install" $packages >&2
exit 1
