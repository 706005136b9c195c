"""A service manager as systemd is to one service: gives it a NOTIFY_SOCKET, prints what it says,
keeps the descriptors that it stores, and gives them back at its next start.

    service_manager.py [--abstract] [--watchdog USEC] COMMAND...

TERM stops the service and ends; USR1 stops it, USR2 kills it, both until HUP starts it again, or
has a service that runs load its configuration again.
"""

import array, ctypes, os, signal, socket, sys, tempfile

arguments = sys.argv[1:]
abstract = arguments[:1] == ["--abstract"]
arguments = arguments[abstract:]
watchdog = None
if arguments[:1] == ["--watchdog"]:
    watchdog, arguments = arguments[1], arguments[2:]

directory = tempfile.TemporaryDirectory()
name = f"@ringway-manager-{os.getpid()}" if abstract else directory.name + "/notify"
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind("\0" + name[1:] if abstract else name)
notify.settimeout(0.02)

wishes, store = [], []
for wish in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
    signal.signal(wish, lambda number, _: wishes.append(number))


def say(text):
    print("manager: " + text, flush=True)


def start():
    child = os.fork()
    if child != 0:
        say(f"started {child}")
        return child
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    own = str(os.getpid())
    variables = os.environ | {"NOTIFY_SOCKET": name}
    if watchdog:
        variables |= {"WATCHDOG_USEC": watchdog, "WATCHDOG_PID": own}
    if store:
        names = ":".join(each for each, _ in store)
        variables |= {"LISTEN_FDS": str(len(store)), "LISTEN_PID": own, "LISTEN_FDNAMES": names}
    # Theirs are above 200, so no number is taken before it has been copied.
    for at, (_, fd) in enumerate(store):
        os.dup2(fd, 3 + at)
    os.closerange(3 + len(store), 4096)
    os.execvpe(arguments[0], arguments, variables)


def descendants(process):
    try:
        with open(f"/proc/{process}/task/{process}/children") as file:
            children = [int(word) for word in file.read().split()]
    except OSError:
        return []
    return children + [below for each in children for below in descendants(each)]


def ended():
    """The service's status, once it has ended."""
    done, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if done else None


def receive():
    try:
        message, control, _, _ = notify.recvmsg(4096, socket.CMSG_SPACE(256 * 4))
    except TimeoutError:
        return
    fds = array.array("i")
    for level, kind, data in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    lines = message.decode().split("\n")
    said = dict(line.split("=", 1) for line in lines)
    say("|".join(lines) + (f" ({len(fds)} descriptors)" if fds else ""))
    if said.get("FDSTORE") == "1":
        for fd in fds:
            known = any(os.path.sameopenfile(fd, other) for _, other in store)
            if known:
                os.close(fd)
            else:
                # Away from the numbers that services are given theirs at.
                high = 200 + len(store)
                os.dup2(fd, high)
                os.close(fd)
                store.append((said["FDNAME"], high))
    elif said.get("FDSTOREREMOVE") == "1":
        for each in [each for each in store if each[0] == said["FDNAME"]]:
            os.close(each[1])
            store.remove(each)
    else:
        for fd in fds:
            os.close(fd)


child = start()
ending = False
while True:
    receive()
    status = ended() if child else None
    if status is not None:
        say(f"ended with {status}")
        if ending:
            sys.exit(status)
        child = None
    while wishes:
        wish = wishes.pop(0)
        if wish == signal.SIGHUP and child is None:
            child = start()
        elif child is not None:
            ending |= wish == signal.SIGTERM
            sent = {signal.SIGUSR1: signal.SIGTERM, signal.SIGUSR2: signal.SIGKILL}.get(wish, wish)
            if sent == signal.SIGKILL:
                # All of the service's processes, as the kernel kills a control group.
                for below in descendants(child):
                    os.kill(below, sent)
            os.kill(child, sent)
        elif wish == signal.SIGTERM:
            sys.exit(0)
