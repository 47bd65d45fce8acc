"""Makes what a snapshot could get wrong: changes of the image's own files, odd
kinds of files, odd names."""

import os
import shutil

IMAGE = "/usr/share/common-licenses"
HOME = "/opt/odd"


def put(path, data=b"x", mode=0o644):
    with open(path, "wb") as out:
        out.write(data)
    os.chmod(path, mode)


def attempt(change, *args):
    """Where an unprivileged user runs the sandbox, the image's files can be
    replaced but not changed in place."""
    try:
        change(*args)
    except PermissionError:
        pass


os.makedirs(HOME)
os.chdir(HOME)

# The image's files: deleted, changed, only their modes changed, another kind,
# a directory made anew under its old name.
shutil.rmtree("/usr/share/base-files")
os.mkdir("/usr/share/base-files")
put("/usr/share/base-files/new")
attempt(os.chmod, f"{IMAGE}/BSD", 0o600)
attempt(put, f"{IMAGE}/LGPL-2", b"changed")
attempt(os.link, f"{IMAGE}/LGPL-2.1", f"{IMAGE}/linked")
os.remove(f"{IMAGE}/GPL-2")
put(f"{IMAGE}/GPL-2", b"replaced", 0o600)
os.remove(f"{IMAGE}/GPL-3")
os.mkdir(f"{IMAGE}/GPL-3")
put(f"{IMAGE}/GPL-3/inside")
os.remove(f"{IMAGE}/Artistic")
os.symlink("BSD", f"{IMAGE}/Artistic")
shutil.rmtree("/etc/skel")
os.symlink("/opt/odd", "/etc/skel")

for name in (
    b"new\nline", b" space ", b"-rf", b"back\\slash", b"quo'te\"s", b"star*?[", "e\u0301".encode(), "\u00e9".encode(),
    "\u65e5\u672c\u8a9e \U0001f642".encode(), b"not \xff\xfe utf-8", b"n" * 255, b".wh.looks like a whiteout", b".wh..wh..opq",
):
    put(name, name)

put("setuid", mode=0o6755)
os.mkdir("sticky")
os.chmod("sticky", 0o1777)
os.mkdir("closed")
put("closed/file", mode=0)
os.chmod("closed", 0)
os.mkdir("empty")
os.mkfifo("pipe", 0o620)
os.symlink("nowhere/\u00fc", "dangling")
os.symlink("..", "up")
os.mkdir("links")
os.link("setuid", "links/setuid")
os.setxattr("setuid", "user.seer", b"attribute\0value")
put("chowned")
os.chown("chowned", 1234, 5678)
with open("holes", "wb") as out:
    out.seek(30 << 20)
    out.write(b"middle")
    out.truncate(60 << 20)
os.utime("holes", ns=(1, 1_234_567_890_123_456_789))
deep = HOME
for _ in range(40):
    deep += "/" + "d" * 50
    os.mkdir(deep)
put(deep + "/bottom")
