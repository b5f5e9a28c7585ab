"""Runs a program at a terminal of its own: types each text once what comes before it has been shown, and the program
has switched off that the terminal shows what is typed, as it does when it begins to read.

    terminal.py PROGRAM ARGUMENT...

Standard input is JSON, a list of [shown, typed]. What the terminal showed goes to standard output, and the exit code is
the program's, or 99 if not all was asked for.
"""
import json
import os
import pty
import select
import sys
import termios
import time

steps = json.load(sys.stdin)
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
shown, seen, end = b"", 0, time.monotonic() + 90
while time.monotonic() < end:
    echoes = termios.tcgetattr(terminal)[3] & termios.ECHO
    if steps and steps[0][0].encode() in shown[seen:] and not echoes:
        seen = len(shown)
        os.write(terminal, steps.pop(0)[1].encode())
    if not select.select([terminal], [], [], 0.1)[0]:
        continue
    try:
        more = os.read(terminal, 65536)
    except OSError:
        break
    if not more:
        break
    shown += more
status = os.waitpid(pid, os.WNOHANG)
if status[0] == 0:
    time.sleep(1)
    status = os.waitpid(pid, os.WNOHANG)
if status[0] == 0:
    os.kill(pid, 9)
    status = os.waitpid(pid, 0)
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(status[1]) if steps == [] else 99)
