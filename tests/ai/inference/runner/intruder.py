"""What code tries that has taken over a runner; this text is run there, in place of a model.

Anything but a refusal counts as reached: a call that fails by its arguments has been let through.
Run as a program, with the targets as JSON, it tries the same without a cage.
"""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import resource
import socket
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
REFUSALS = (errno.EPERM, errno.EACCES, errno.ENOSYS)
PTRACE_SEIZE = 0x4206
SIOCGIFCONF = 0x8912

KERNEL = {
    "accept": 43,
    "add_key": 248,
    "bind": 49,
    "bpf": 321,
    "clone3": 435,
    "finit_module": 313,
    "fsopen": 430,
    "getsockname": 51,
    "inotify_init1": 294,
    "io_uring_setup": 425,
    "kcmp": 312,
    "kexec_load": 246,
    "keyctl": 250,
    "landlock_create_ruleset": 444,
    "memfd_secret": 447,
    "mq_open": 240,
    "msgget": 68,
    "open_by_handle_at": 304,
    "open_tree": 428,
    "openat2": 437,
    "perf_event_open": 298,
    "personality": 135,
    "pidfd_getfd": 438,
    "pidfd_send_signal": 424,
    "pivot_root": 155,
    "process_madvise": 440,
    "process_vm_writev": 311,
    "rt_sigqueueinfo": 129,
    "seccomp": 317,
    "sendmsg": 46,
    "setns": 308,
    "setpriority": 141,
    "setsid": 112,
    "shmget": 29,
    "socketpair": 53,
    "tkill": 200,
    "userfaultfd": 323,
}
"""By their numbers on x86-64. With -1 for every argument they do nothing where they are let."""


def try_all(targets):
    """Return what became of each attempt: "reached", or what the system said."""
    return {name: _try(attempt) for name, attempt in _attempts(**targets).items()}


def try_kernel():
    """Return the same of calls that nobody makes without harm who may make them."""
    return {name: _try(lambda n=n: native("syscall", n, *[-1] * 6)) for name, n in KERNEL.items()}


def _try(attempt):
    try:
        attempt()
    except OSError as error:
        return str(error) if error.errno in REFUSALS else f"reached, {error}"
    return "reached"


def _attempts(secret, folder, library, port, listener, abstract, victim, parent, runner):
    return {
        "read a secret": lambda: read(secret),
        "read the users": lambda: read("/etc/passwd"),
        "read through another name": lambda: read(f"/proc/self/root{secret}"),
        "list a folder": lambda: os.listdir(folder),
        "list the root": lambda: os.listdir("/"),
        "list the processes": lambda: os.listdir("/proc"),
        "read its own environment": lambda: read("/proc/self/environ"),
        "write a file": lambda: open_as(secret, os.O_WRONLY),
        "cut a file": lambda: open_as(secret, os.O_RDONLY | os.O_TRUNC),
        "make a file": lambda: open_as(f"{folder}/made", os.O_WRONLY | os.O_CREAT),
        "make a file without a name": lambda: open_as(folder, os.O_RDWR | os.O_TMPFILE),
        "write a library": lambda: open_as(library, os.O_WRONLY | os.O_APPEND),
        "make a folder": lambda: os.mkdir(f"{folder}/new"),
        "link": lambda: os.link(secret, f"{folder}/linked"),
        "rename": lambda: os.rename(secret, secret),
        "change a mode": lambda: os.chmod(secret, 0o644),
        "date a file": lambda: os.utime(secret),
        "truncate": lambda: os.truncate(secret, os.path.getsize(secret)),
        "make memory a file": lambda: os.memfd_create("more"),
        "share memory": lambda: mmap.mmap(-1, 4096).close(),
        "connect by TCP": lambda: connect(socket.AF_INET, ("127.0.0.1", port)),
        "connect by a socket's name": lambda: connect(socket.AF_UNIX, listener),
        "connect by an abstract name": lambda: connect(socket.AF_UNIX, abstract),
        "send by UDP": lambda: connect(socket.AF_INET, ("127.0.0.1", port), socket.SOCK_DGRAM),
        "ask for the network's addresses": lambda: fcntl.ioctl(0, SIOCGIFCONF, bytes(16)),
        "read another runner's files": lambda: os.listdir(f"/proc/{runner}/fd"),
        "read another runner's memory": lambda: read(f"/proc/{runner}/maps"),
        "see the parent": lambda: read(f"/proc/{parent}/cmdline"),
        "see where the parent is": lambda: os.readlink(f"/proc/{parent}/cwd"),
        "see the first process": lambda: read("/proc/1/stat"),
        "signal": lambda: os.kill(victim, 0),
        "signal the parent": lambda: os.kill(parent, 0),
        "signal all": lambda: os.kill(-1, 0),
        "have signals sent": lambda: fcntl.fcntl(0, fcntl.F_SETOWN, victim),
        "take a handle": lambda: os.close(os.pidfd_open(victim)),
        "limit another": lambda: resource.prlimit(victim, resource.RLIMIT_CORE),
        "slow another down": lambda: os.sched_setaffinity(victim, os.sched_getaffinity(0)),
        "trace": lambda: native("ptrace", PTRACE_SEIZE, victim, None, None),
        "read memory": lambda: native("process_vm_readv", victim, None, 0, None, 0, 0),
        "fork": fork,
        "spawn": lambda: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0),
        "execute": lambda: in_child(lambda: os.execve("/bin/true", ["true"], {})),
        "outlive": lambda: native("prctl", 1, 0, 0, 0, 0),  # PR_SET_PDEATHSIG
        "be traced": lambda: native("prctl", 0x59616D61, -1, 0, 0, 0),  # PR_SET_PTRACER
        "become another": lambda: in_child(lambda: os.setresuid(1, 1, 1)),
        "leave the groups": lambda: in_child(lambda: os.setgroups([])),
        "have a user namespace": lambda: in_child(lambda: native("unshare", 0x10000000)),
        "mount": lambda: in_child(lambda: native("mount", b"none", b"/mnt", b"tmpfs", 0, None)),
        "change the root": lambda: in_child(lambda: os.chroot("/")),
        "raise a limit": raise_limit,
    }


def native(function, *arguments):
    ctypes.set_errno(0)
    if getattr(LIBC, function)(*arguments) == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def read(path):
    with open(path, "rb") as file:
        file.read(1)


def open_as(path, flags):
    os.close(os.open(path, flags, 0o600))


def connect(family, address, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind) as made:
        made.connect(address)


def fork():
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


def in_child(attempt):
    """Make an attempt after which nothing would go on, in a child if there can be one."""
    try:
        child = os.fork()
    except OSError:
        attempt()
        return
    if not child:
        try:
            attempt()
        except OSError as error:
            os._exit(error.errno)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise OSError(code, os.strerror(code))


def raise_limit():
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 1))
    except ValueError as error:
        raise OSError(errno.EPERM, str(error)) from error


if __name__ == "__main__":
    sys.stdout.write(json.dumps(try_all(json.loads(sys.argv[1]))))
