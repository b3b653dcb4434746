#!/usr/bin/env python3
"""Packs a folder into a zip, the same bytes for the same files: jeedom-zip.py FOLDER ZIP SECONDS.

The names are sorted, every time is SECONDS after the epoch, and no owner is in it. Folders have no entries of their own.
"""

import os
import sys
import time
import zipfile


def files(folder):
    """The paths of all files below a folder, relative to it."""
    for top, _, names in os.walk(folder):
        for name in names:
            yield os.path.relpath(os.path.join(top, name), folder)


def main():
    folder, target, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3])
    # A zip knows no time before 1980.
    when = max(time.gmtime(seconds)[:6], (1980, 1, 1, 0, 0, 0))
    with zipfile.ZipFile(target + ".new", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(files(folder)):
            path = os.path.join(folder, name)
            entry = zipfile.ZipInfo(name, when)
            entry.create_system = 3  # Unix, whose modes these are
            entry.external_attr = (os.stat(path).st_mode & 0xFFFF) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            with open(path, "rb") as file:
                archive.writestr(entry, file.read())
    os.replace(target + ".new", target)


main()
