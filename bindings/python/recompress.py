"""recompress.py WHEEL: the same files in the same order with the same dates, deflated harder.

Zopfli searches longer for the same kind of stream that zlib makes, so that every unzip reads
it. The files themselves stay as they are, and so does what RECORD says of them.
"""

import os
import sys
import zipfile

import zopfli


def main(wheel: str) -> None:
    smaller = wheel + ".smaller"
    with (
        zipfile.ZipFile(wheel) as before,
        zopfli.ZipFile(smaller, "w", zipfile.ZIP_DEFLATED, iterations=100) as after,
    ):
        for entry in before.infolist():
            if entry.is_dir():
                continue
            copy = zopfli.ZipInfo(entry.filename, entry.date_time)
            copy.compress_type = zipfile.ZIP_DEFLATED
            copy.create_system, copy.external_attr = entry.create_system, entry.external_attr
            after.writestr(copy, before.read(entry))
    with zipfile.ZipFile(wheel) as before, zipfile.ZipFile(smaller) as after:
        assert [name for name in before.namelist() if name[-1] != "/"] == after.namelist()
        assert all(before.read(name) == after.read(name) for name in after.namelist())
    os.replace(smaller, wheel)


if __name__ == "__main__":
    main(sys.argv[1])
