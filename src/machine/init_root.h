// Init's own root folder: what lets a checkpoint of a user's job be taken without privileges.
//
// To dump a pid namespace CRIU has the namespace's PID 1 open a /proc that shows that namespace. If
// /proc/self is not PID 1's own number there, the parasite in it makes a folder in its working
// folder and mounts one: impossible for a user's job, and with root's a stray folder and mount.
// Jobs have no mount namespace, so their /proc is the host's. But PID 1 is our init: it lives
// chrooted in an empty folder, main does not, and while a dump is taken a /proc of the job's
// namespace is mounted in that folder. The path is in the checkpoint, so it must be the same, and
// exist, on every node: HELPERS_DIR/root-<job>. Root only.
#pragma once

#include <string>

#include "base/result.h"
#include "machine/process_name.h"

namespace machine {

// Makes ROOT and ROOT/proc, if they are not there: before start_job() or a restore.
base::Status make_init_root(const std::string& root);
// Mounts the /proc of that init's namespace at ROOT/proc: before a dump. One that a crash left
// there is replaced. Works while the job is frozen. Blocking.
base::Status show_proc(const ProcessName& init, const std::string& root);
// Ok if there is none: after a dump, whatever its outcome.
base::Status hide_proc(const std::string& root);
// When the job is over or has moved away; hides first. Nodes on one machine share the folder: while
// a process still has it as its root, everything stays, and that is ok. Blocking: looks at /proc.
base::Status remove_init_root(const std::string& root);
// What deaths of daemons left in HELPERS_DIR: all that are nobody's root and were not made just
// now. At a daemon's start, when nothing arrives; the root of a job that arrives at another node of
// this machine is its original's.
void remove_unused_init_roots(const std::string& helpers_dir);

}  // namespace machine
