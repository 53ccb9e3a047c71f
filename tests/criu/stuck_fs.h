// A file system with one file, "file", whose reads are never answered: a server that is gone.
#pragma once

#include <string>
#include <thread>

#include "machine/fd.h"

namespace criu_test {

class StuckFs {
 public:
  // Over the folder `at`. Not valid() where FUSE is not to be had (errno).
  explicit StuckFs(std::string at);
  ~StuckFs();  // whoever waits for a read gets an error
  StuckFs(const StuckFs&) = delete;
  StuckFs& operator=(const StuckFs&) = delete;
  [[nodiscard]] bool valid() const { return server_.joinable(); }
  // Until somebody waits for a read. False: not within half a minute.
  [[nodiscard]] bool await_read() const;

 private:
  void serve() const;
  std::string at_;
  machine::Fd device_;
  machine::Fd asked_;  // eventfd(2)s
  machine::Fd ended_;
  std::thread server_;
};

}  // namespace criu_test
