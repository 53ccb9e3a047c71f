# The recipes of old, for those who know them by these names (https://just.systems); README.md has the table.

# Every node, S and the rule in force, and why nothing moves when nothing does
mesh-balance *OPTIONS:
    tern status {{OPTIONS}}

# The least loaded nodes, best first
find-minus *OPTIONS:
    tern find-minus {{OPTIONS}}

# Move a process (its PID) or a job (its id or name) to the best node, or to the one that is named
migrate-scum PID NODE="best":
    tern migrate {{PID}} {{NODE}}

# What this machine is doing, and what the rules advise
monitor *OPTIONS:
    tern probe {{OPTIONS}}
