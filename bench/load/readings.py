"""What /proc and /sys say about a proxy (CPU time, memory, threads), and what the gateway says about itself."""
import contextlib
import os
import urllib.request

KIB = 1024
# Slab caches that sockets, open files and waits live in. An object of a socket's file is one dentry more, which is
# counted by the sockets: the cache of dentries belongs to every build that runs beside this.
CACHES = ("TCP", "sock_inode_cache", "filp", "eventpoll_epi", "eventpoll_pwq", "io_kiocb", "tcp_bind_bucket")
SLABS = "/sys/kernel/slab"


def family(process):
    return [process.pid] + children(process.pid)


def children(parent):
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if int(stat(entry)[1]) == parent:
                found.append(int(entry))
    return found


def stat(pid):
    """The fields of its line from the state on: that is the third field of proc(5), and index 0 here."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return file.read().rsplit(")", 1)[1].split()


def cpu_us(process):
    """Microseconds in user mode and in the kernel, of all its processes. A process's own line sums up its threads: the
    ring's kernel workers and threads that have ended are in it."""
    tick_us = 1_000_000 // os.sysconf("SC_CLK_TCK")
    lines = [stat(pid) for pid in family(process)]
    return [sum(int(line[column]) for line in lines) * tick_us for column in (11, 12)]


def memory(process):
    """Bytes: in user space (of this process and its children; none: 0), and in the kernel (of the whole machine)."""
    user = resident_bytes(process, "RssAnon") if process else 0
    return {"user": user, "kernel": kernel_bytes(), "kernel_at_large": kernel_at_large_bytes()}


def resident_bytes(process, kind="VmRSS"):
    """Of all its processes. Pages that they share, such as those of the program, count once for each of them."""
    return sum(status_bytes(pid, kind) for pid in family(process))


def status_bytes(pid, kind):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        return int(next(line.split()[1] for line in file if line.startswith(f"{kind}:"))) * KIB


def kernel_bytes():
    """The caches above and the pages of TCP's buffers. None where only root may ask."""
    caches = {os.path.realpath(f"{SLABS}/{name}") for name in CACHES}  # several names may stand for one, merged
    try:
        total = sum(objects(cache) * object_bytes(cache) for cache in caches if os.path.exists(cache))
        total += objects(f"{SLABS}/sock_inode_cache") * object_bytes(f"{SLABS}/dentry")
    except OSError:
        return None
    with open("/proc/net/sockstat", encoding="ascii") as file:
        tcp = next(line.split() for line in file if line.startswith("TCP:"))
    return total + int(tcp[tcp.index("mem") + 1]) * os.sysconf("SC_PAGE_SIZE")


def objects(cache):
    return number(f"{cache}/objects")


def object_bytes(cache):
    return number(f"{cache}/slab_size")


def number(path):
    with open(path, encoding="ascii") as file:
        return int(file.read().split()[0])


def kernel_at_large_bytes():
    """All slabs, kernel stacks and page tables: everything is in it, and everybody's."""
    with open("/proc/meminfo", encoding="ascii") as file:
        sizes = {line.split(":")[0]: int(line.split()[1]) for line in file}
    return (sizes["Slab"] + sizes["KernelStack"] + sizes["PageTables"]) * KIB


def threads(process):
    """How many there are, and how many of them are workers that the kernel made for io_uring."""
    names = [name for pid in family(process) for name in thread_names(pid)]
    return len(names), sum(name.startswith("iou-wrk") for name in names)


def thread_names(pid):
    with contextlib.suppress(OSError):  # a thread, or all of them, may end while they are listed
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/comm", encoding="ascii") as file:
                yield file.read().strip()


def metric(admin_port, prefix):
    """The sum of the gateway's counters whose names begin so, over its cores."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines if line.startswith(prefix))
