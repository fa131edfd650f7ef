"""The drill: a whole Clipledger of its own, thousands of orders, every fault we know at random moments, then the books.

`manage.py drill` starts PostgreSQL, Valkey, a sandbox, web, workers, watchers and beat under var/drill, as real
processes. Members order through `lifecycle.request` and through the pages' own POST, press twice, cancel; their
prompts ask the sandbox for its faults (see `generations.sandbox`); meanwhile a saboteur kills, freezes, flushes,
restarts, cuts, fills and locks. When it is quiet again everything is counted, and a certificate says what was found.

`plan` draws all of it from one seed: the same seed and count give the same orders, faults, victims and moments, and the
same digest on the certificate. Which process was at which line when it was struck is the machine's affair and differs
from run to run; so a breach may need several runs of its seed to come back.

What is struck, and how: `saboteur.STRIKES`. A wall clock jumps inside the process it is put wrong for (`jumps`), since
Linux keeps one for all processes of a machine; PostgreSQL's own, which all decisions follow, is left alone here.

`house` says where everything lies, `fleet` keeps the processes, `saboteur` strikes, `customers` order, `quiet` waits,
`fal_books` reads what the sandbox did, `checks` compares, `certificate` prints, `performance` puts it all together.
"""
