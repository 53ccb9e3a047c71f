#include "base/log.h"

namespace base {
namespace {

class NullLog final : public Log {
 public:
  void write(LogLevel /*level*/, std::string_view /*event*/,
             std::initializer_list<LogField> /*fields*/) override {}
};

}  // namespace

Log& null_log() {
  static NullLog log;
  return log;
}

}  // namespace base
