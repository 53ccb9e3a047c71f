// What files_home.cc, the guest's part, and files_home_in.cc, home's, have in common.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>

#include "daemon/files_home.h"

namespace ternd {

struct FilesHome::Going {
  node::JobSpec spec;
  base::Epoch epoch;
  std::optional<std::set<std::string>> removed;  // by the job; none: not known
  std::unique_ptr<PeerStream> stream;
  std::unique_ptr<FilesOut> files;
  std::unique_ptr<loop::Timer> timer;
  base::Duration wait = kFilesHomeAgain;
  std::function<void()> then;  // until it was told
  std::unique_ptr<loop::Timer> tells;
  bool noted = false;
  bool over = false;  // home has it, or refuses it: what becomes of the connection is nothing to us
  bool stays_noted = false;  // that home has it, as not all of it could go here: the next daemon's
  bool gave_up = false;      // and home is being told
  bool said_no_room = false;
  base::Time began{};                      // the attempt
  std::string why;                         // it will be made again
  std::shared_ptr<machine::JobTree> tree;  // of the last one
};

struct FilesHome::Coming {
  base::JobId job;
  std::unique_ptr<PeerStream> stream;
  std::unique_ptr<FilesIn> files;
  std::unique_ptr<loop::Timer> refused;  // then it is closed
  std::unique_ptr<loop::Timer> closes;
  bool working = false;  // off the loop
  bool closed = false;
};

}  // namespace ternd
