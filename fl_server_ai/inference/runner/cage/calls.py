"""Which system calls can be made: those for computing. Kept by seccomp.

All others fail with EPERM, which libraries are used to. So there is no socket but the one to the
worker, no other program or process, no signal to others, no new file, no memory that the
runner's limit doesn't count. Where the kernel can't look at a call's arguments, ENOSYS sends
glibc to the older call, where it can.
"""

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from typing import Any

try:
    import pyseccomp
except (ImportError, RuntimeError):  # the latter without libseccomp
    pyseccomp = None

FILES = (
    "access close close_range dup dup2 dup3 faccessat faccessat2 fadvise64 fstat fstatfs ftruncate "
    "getcwd getdents64 lseek lstat newfstatat pread64 preadv pwrite64 read readlink readlinkat "
    "readv stat statx write writev"
)
WORKER = "recvmsg sendto"
MEMORY = "brk madvise mincore mprotect mremap munmap"
THREADS = (
    "exit exit_group futex getcpu gettid membarrier restart_syscall rseq rt_sigaction "
    "rt_sigprocmask rt_sigreturn sched_get_priority_max sched_get_priority_min sched_getaffinity "
    "sched_getparam sched_getscheduler sched_yield set_robust_list sigaltstack"
)
TIME = (
    "clock_getres clock_gettime clock_nanosleep gettimeofday nanosleep poll ppoll pselect6 select "
    "time times"
)
SELF = (
    "getegid geteuid getgid getpid getppid getrandom getresgid getresuid getrlimit getrusage "
    "getuid setrlimit sysinfo uname"
)
ALLOWED = (FILES, WORKER, MEMORY, THREADS, TIME, SELF)

GPU = (
    "epoll_create1 epoll_ctl epoll_pwait epoll_wait eventfd2 get_mempolicy mbind mlock mlock2 mmap "
    "munlock pipe2 sched_setaffinity set_mempolicy"
)
"""What CUDA's driver may want besides. Memory that it shares isn't counted."""

OLDER = ("clone3", "openat2")

ABSENT = ("connect", "mkdir", "symlink", "unlink")
"""What CUDA's driver tries and can do without, if told that the path isn't there."""

NEW_FILE = os.O_CREAT | os.O_TRUNC | os.O_TMPFILE & ~os.O_DIRECTORY
SHARED, ANONYMOUS = 0x01, 0x20  # of mmap
THREAD, NAMESPACES = 0x00010900, 0x7E020080  # of clone: _THREAD, _SIGHAND, _VM; _NEW…
FCNTL = (fcntl.F_DUPFD, fcntl.F_DUPFD_CLOEXEC, fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL)
IS_TERMINAL, CLOSE_ON_EXEC, STAY_ON_EXEC = 0x5401, 0x5451, 0x5450  # of ioctl
SEQUENCED = socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC
SET_NAME = 15  # of prctl: a thread's
WIDE_REGISTERS = (0x1021, 0x1022, 0x1023)  # of arch_prctl: AMX, which is asked for


def hold(gpu: bool) -> str:
    """Let no other call be made."""
    if pyseccomp is None:
        raise OSError("pyseccomp or libseccomp isn't installed")
    allowed = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    # By default only the thread goes that makes a call of the 32-bit kind.
    allowed.set_attr(pyseccomp.Attr.ACT_BADARCH, pyseccomp.KILL_PROCESS)
    add_rules(allowed, gpu)
    allowed.load()
    return "seccomp"


def add_rules(allowed: Any, gpu: bool) -> None:
    """Add all that is allowed to a filter of pyseccomp's."""
    for name in OLDER:
        _add(allowed, pyseccomp.ERRNO(errno.ENOSYS), name)
    for name in ABSENT if gpu else ():
        _add(allowed, pyseccomp.ERRNO(errno.ENOENT), name)
    for name in " ".join((*ALLOWED, GPU) if gpu else ALLOWED).split():
        _add(allowed, pyseccomp.ALLOW, name)
    for name, *arguments in _with_arguments(pyseccomp, gpu):
        _add(allowed, pyseccomp.ALLOW, name, *arguments)


def _add(allowed: Any, action: int, name: str, *arguments: Any) -> None:
    if pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) != -1:  # newer than libseccomp
        allowed.add_rule(action, name, *arguments)


def _with_arguments(s: Any, gpu: bool) -> Iterator[tuple[Any, ...]]:
    """Yield calls that are allowed with some arguments, by their position, alone."""
    this = os.getpid()
    # A GPU is a file to write to, and its driver names threads as if it made the file for that.
    refused = os.O_TMPFILE & ~os.O_DIRECTORY if gpu else NEW_FILE | os.O_ACCMODE
    yield "open", s.Arg(1, s.MASKED_EQ, refused, 0)
    yield "openat", s.Arg(2, s.MASKED_EQ, refused, 0)
    yield "clone", s.Arg(0, s.MASKED_EQ, THREAD | NAMESPACES, THREAD)
    yield "kill", s.Arg(0, s.EQ, this)
    yield "tgkill", s.Arg(0, s.EQ, this)
    yield "prlimit64", s.Arg(0, s.EQ, 0)
    yield "prctl", s.Arg(0, s.EQ, SET_NAME)
    # Without F_SETOWN, by which the kernel sends signals to others.
    yield from (("fcntl", s.Arg(1, s.EQ, command)) for command in FCNTL)
    yield from (("arch_prctl", s.Arg(0, s.EQ, command)) for command in WIDE_REGISTERS)
    for command in (IS_TERMINAL, CLOSE_ON_EXEC, STAY_ON_EXEC):
        yield "ioctl", s.Arg(1, s.EQ, command)
    if gpu:
        yield "fcntl", s.Arg(1, s.EQ, fcntl.F_SETFL)
        # One that can't send without `connect`. The driver only makes it, gives it a name, waits.
        yield "socket", s.Arg(0, s.EQ, socket.AF_UNIX), s.Arg(1, s.EQ, SEQUENCED)
        yield from ((name,) for name in ("bind", "listen"))
        # The driver's: of type F, or a bare number; no socket's and no terminal's.
        yield "ioctl", s.Arg(1, s.MASKED_EQ, 0xFF00, ord("F") << 8)
        yield "ioctl", s.Arg(1, s.LT, 0x1000)
        yield from (("ioctl", s.Arg(1, s.EQ, command)) for command in (0x30000001, 0x30000002))
    else:  # shared memory without a file isn't counted
        yield "mmap", s.Arg(3, s.MASKED_EQ, SHARED, 0)
        yield "mmap", s.Arg(3, s.MASKED_EQ, ANONYMOUS, 0)
