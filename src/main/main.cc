#include "cli/cli.h"
#include "daemon/doctor.h"
#include "daemon/run_daemon.h"

int main(int argc, char** argv) {
  return cli::run_cli(argc, argv, cli::Hooks{ternd::run_daemon, ternd::examine_machine});
}
