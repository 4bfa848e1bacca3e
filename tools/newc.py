# SPDX-License-Identifier: MIT
"""A cpio archive in the `newc` format, which the Linux kernel unpacks as its initramfs. Used by mkinitramfs and mkguest.

It is written here and not by cpio(1) because device nodes and owners need no root this way and the bytes are the same
every time. The kernel's format description: Documentation/driver-api/early-userspace/buffer-format.rst.
"""

import os
import stat
import tarfile

MODE_FOLDER = stat.S_IFDIR | 0o755
MODE_FILE = stat.S_IFREG | 0o644
MODE_PROGRAM = stat.S_IFREG | 0o755
MODE_LINK = stat.S_IFLNK | 0o777
MODE_CHARACTER = stat.S_IFCHR | 0o600
CONSOLE = (5, 1)  # /dev/console: init's first file descriptors, before /dev is mounted
FILE_BYTES_MAX = (1 << 32) - 1  # a size has eight hexadecimal digits
COPY_BYTES = 1 << 20
TAR_KINDS = {tarfile.REGTYPE: stat.S_IFREG, tarfile.AREGTYPE: stat.S_IFREG, tarfile.DIRTYPE: stat.S_IFDIR,
             tarfile.SYMTYPE: stat.S_IFLNK, tarfile.CHRTYPE: stat.S_IFCHR, tarfile.BLKTYPE: stat.S_IFBLK,
             tarfile.FIFOTYPE: stat.S_IFIFO}


class Archive:
    """Entries in order, written to a file; each has its own inode number, so no two are taken for links of one file."""

    def __init__(self, out):
        self.out = out
        self.inode = 0
        self.bytes = 0  # of the archive
        self.content_bytes = 0  # of the files in it: what it takes unpacked, in whole pages

    def add(self, name, mode, data=b"", device=(0, 0), owner=(0, 0), mtime=0):
        self.head(name, mode, len(data), device, owner, mtime)
        self.append(data)
        self.pad()

    def add_file(self, name, mode, source, size, owner=(0, 0), mtime=0):
        """A file's bytes from an open file."""
        if size > FILE_BYTES_MAX:
            raise ValueError(f"{name} has 4 GiB or more, which an initramfs cannot hold")
        self.head(name, mode, size, (0, 0), owner, mtime)
        left = size
        while left > 0:
            piece = source.read(min(left, COPY_BYTES))
            if not piece:
                raise ValueError(f"{name} became shorter while it was copied")
            self.append(piece)
            left -= len(piece)
        self.pad()

    def end(self):
        self.add("TRAILER!!!", 0)

    def head(self, name, mode, size, device, owner, mtime):
        self.inode += 1
        name_bytes = os.fsencode(name) + b"\0"
        links = 2 if stat.S_ISDIR(mode) else 1
        fields = (self.inode, mode, *owner, links, mtime, size, 0, 0, *device, len(name_bytes), 0)
        self.append(b"070701" + b"".join(b"%08x" % field for field in fields) + name_bytes)
        self.pad()
        self.content_bytes += -(-size // 4096) * 4096

    def append(self, data):
        self.out.write(data)
        self.bytes += len(data)

    def pad(self):
        self.append(bytes(-self.bytes % 4))


def add_folder(archive, root, own=False):
    """What is in a folder, in order: files, folders, links and device nodes as they are. All belong to root, except with
    `own`."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        inside = os.path.relpath(folder, root)
        for name in sorted([*names, *(each for each in folders if os.path.islink(os.path.join(folder, each)))]):
            add_path(archive, os.path.normpath(os.path.join(inside, name)), os.path.join(folder, name), own)
        for name in folders:
            if not os.path.islink(os.path.join(folder, name)):
                add_path(archive, os.path.normpath(os.path.join(inside, name)), os.path.join(folder, name), own)


def add_path(archive, name, path, own):
    found = os.lstat(path)
    owner = (found.st_uid, found.st_gid) if own else (0, 0)
    if stat.S_ISREG(found.st_mode):
        with open(path, "rb") as source:
            archive.add_file(name, found.st_mode, source, found.st_size, owner)
    elif stat.S_ISLNK(found.st_mode):
        archive.add(name, found.st_mode, os.fsencode(os.readlink(path)), owner=owner)
    elif stat.S_ISDIR(found.st_mode):
        archive.add(name, found.st_mode, owner=owner)
    elif stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode):
        archive.add(name, found.st_mode, device=(os.major(found.st_rdev), os.minor(found.st_rdev)), owner=owner)


def add_tar(archive, tar, leave_out):
    """The members of an open tar archive, with owners, modes and times, less those for which leave_out(name) is true. A hard
    link becomes a file of its own."""
    for member in tar:
        name = member.name.removeprefix("./").rstrip("/")
        if name in ("", ".") or leave_out(name):
            continue
        owner, mtime = (member.uid, member.gid), max(0, int(member.mtime))
        target = tar.getmember(member.linkname) if member.islnk() else member
        mode = TAR_KINDS[target.type] | member.mode & 0o7777
        if target.isfile():
            archive.add_file(name, mode, tar.extractfile(target), target.size, owner, mtime)
        elif member.issym():
            archive.add(name, mode, os.fsencode(member.linkname), owner=owner, mtime=mtime)
        else:
            archive.add(name, mode, device=(member.devmajor, member.devminor), owner=owner, mtime=mtime)
