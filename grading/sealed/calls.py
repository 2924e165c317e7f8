"""System calls that no submission needs, refused by the kernel. Runs in the child, once.

Namespaces do not hold everything: a socket to the hypervisor (AF_VSOCK) is of no network namespace,
memory in a memfd belongs to no process that could be looked at, and io_uring does what it is asked
past every audit hook. What is listed here answers EPERM, in this process and all that it starts.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

# Numbers of calls: <asm/unistd_64.h> of x86, <asm-generic/unistd.h>
CALLS = {
    "x86_64": {
        "keys": (248, 249, 250),
        "another process": (101, 310, 311),  # ptrace, process_vm_readv, process_vm_writev
        "another view": (155, 165, 166, 272, 308),  # pivot_root, mount, umount2, unshare, setns
        # shmget, semget, msgget, mq_open, memfd_create; pages that only a pipe holds: vmsplice
        "hidden memory": (29, 64, 68, 240, 319, 278),
        "the kernel": (298, 321, 323),  # perf_event_open, bpf, userfaultfd
        "socket": (41,),
        "seccomp": (317,),
    },
    "aarch64": {
        "keys": (217, 218, 219),
        "another process": (117, 270, 271),
        "another view": (39, 40, 41, 97, 268),
        "hidden memory": (194, 190, 186, 180, 279, 75),
        "the kernel": (241, 280, 282),
        "socket": (198,),
        "seccomp": (277,),
    },
}
# The same everywhere: io_uring_setup, open_tree, move_mount, fsopen, fsmount, fspick,
# mount_setattr, memfd_secret
NEWER = (425, 428, 429, 430, 432, 433, 442, 447)
ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # <linux/audit.h>
FAMILIES = (1, 2, 10, 16)  # sockets: unix, inet, inet6, netlink; all held by a network namespace
X32 = 0x40000000  # x86 calls by their numbers of another kind

# <linux/bpf_common.h>, <linux/seccomp.h>
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
NUMBER, ARCH, FIRST_ARGUMENT = 0, 4, 16  # offsets in what the filter is shown
SET_FILTER, SPECULATE = 1, 4  # the flag: no slower code for a filter's sake


def refuse() -> bool:
    """Refuse the calls from now on; False where this machine's numbers are not known here.

    OSError where the kernel has no filters. Needs that no new privileges can be had.
    """
    machine = os.uname().machine
    if machine not in CALLS:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    code = _program(machine)
    program = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(program))
    (seccomp,) = CALLS[machine]["seccomp"]
    if libc.syscall(seccomp, SET_FILTER, SPECULATE, head):
        number = ctypes.get_errno()
        raise OSError(number, f"no filter of system calls: {os.strerror(number)}")
    return True


def _program(machine: str) -> bytes:
    """The filter, in the kernel's code: four numbers a step, jumps count steps to pass over."""
    known = dict(CALLS[machine])
    (socket,), _ = known.pop("socket"), known.pop("seccomp")
    refused = [*NEWER, *(number for numbers in known.values() for number in numbers)]
    steps = [(LOAD, 0, 0, ARCH), (EQUAL, 1, 0, ARCHITECTURE[machine]), (RETURN, 0, 0, REFUSE)]
    steps += [(LOAD, 0, 0, NUMBER), (AT_LEAST, 0, 1, X32), (RETURN, 0, 0, REFUSE)]
    for number in refused:
        steps += [(EQUAL, 0, 1, number), (RETURN, 0, 0, REFUSE)]
    steps += [(EQUAL, 1, 0, socket), (RETURN, 0, 0, ALLOW), (LOAD, 0, 0, FIRST_ARGUMENT)]
    for family in FAMILIES:
        steps += [(EQUAL, 0, 1, family), (RETURN, 0, 0, ALLOW)]
    steps += [(RETURN, 0, 0, REFUSE)]
    return b"".join(struct.pack("HBBI", *step) for step in steps)
