// Results of operations that a peer, a file or a user can make fail.
//
// A Result<T> holds a T or an Error. Only our own bugs abort (base/check.h). `detail` is a plain
// sentence for a person, without a trailing full stop; `code` exists for callers that act on it.
#pragma once

#include <string>
#include <utility>
#include <variant>

#include "base/check.h"

namespace base {

enum class Code {
  kInvalid,      // malformed or contradictory input
  kTruncated,    // input ended early; more bytes might mend it
  kTooLarge,     // over a declared limit
  kUnauthentic,  // signature, MAC or certificate does not hold
  kStale,        // older than what is known
  kNotFound,
  kExists,
  kRefused,      // policy or preflight says no
  kUnreachable,  // peer or daemon does not answer
  kUnsupported,  // this machine or version cannot
  kFull,         // a bounded table or queue has no room
  kTimeout,
  kIo,  // the operating system failed a call
};

struct Error {
  Code code;
  std::string detail;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  // NOLINTBEGIN(google-explicit-constructor): a Result is made by returning a value or an Error.
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}
  // NOLINTEND(google-explicit-constructor)

  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  // Legal only when ok().
  [[nodiscard]] T& value() & {
    CHECK(ok());
    return *std::get_if<0>(&state_);
  }
  [[nodiscard]] const T& value() const& {
    CHECK(ok());
    return *std::get_if<0>(&state_);
  }
  [[nodiscard]] T&& value() && {
    CHECK(ok());
    return std::move(*std::get_if<0>(&state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  // Legal only when !ok().
  [[nodiscard]] const Error& error() const {
    CHECK(!ok());
    return *std::get_if<1>(&state_);
  }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): as above
  Result(Error error) : error_(std::move(error)), ok_(false) {}
  [[nodiscard]] bool ok() const { return ok_; }
  explicit operator bool() const { return ok_; }
  [[nodiscard]] const Error& error() const {
    CHECK(!ok_);
    return error_;
  }

 private:
  Error error_{Code::kInvalid, {}};
  bool ok_ = true;
};

using Status = Result<void>;

inline Error fail(Code code, std::string detail) { return Error{code, std::move(detail)}; }

}  // namespace base
