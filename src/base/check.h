// CHECK(expr): aborts with file, line and expression. For our own bugs only, never for data that a
// peer, a file or a user sent. On in every build. One condition per CHECK.
#pragma once

namespace base {
[[noreturn]] void check_failed(const char* file, int line, const char* expression);
}  // namespace base

#define CHECK(expression) \
  ((expression) ? static_cast<void>(0) : ::base::check_failed(__FILE__, __LINE__, #expression))
