"""Changes what make.py made, for a second snapshot on top of the first."""

import os
import shutil

os.chdir("/opt/odd")
os.remove("-rf")
shutil.rmtree("links")
os.mkdir("links")
os.link("setuid", "links/another")
os.remove("dangling")
os.mkdir("dangling")
shutil.move("sticky", "moved")
os.remove("/etc/skel")
os.mkdir("/etc/skel")
with open("/usr/share/common-licenses/GPL-3/inside", "ab") as out:
    out.write(b"more")
shutil.rmtree("/usr/share/base-files")
