// The login manager's sessions, as far as they say whether somebody works at a desktop here
// (probe/services.h). Asked for when the login manager comes, when a session comes or goes, and
// when one of them changes; one question at a time.
#pragma once

#include <functional>
#include <vector>

#include "bus/internal.h"
#include "probe/services.h"

namespace bus {

class Sessions {
 public:
  explicit Sessions(const Peer& login, std::function<void()> changed)
      : login_(login), changed_(std::move(changed)) {}
  void listen(sd_bus* bus);
  void login_changed(bool here);
  [[nodiscard]] bool somebody_works() const { return works_; }

 private:
  void on_news(sd_bus_message* signal);
  void look();
  void on_list(sd_bus_message* reply);
  void look_at_next();
  void on_session(sd_bus_message* reply);
  void found(bool works);

  const Peer& login_;
  std::function<void()> changed_;
  sd_bus* bus_ = nullptr;
  std::vector<Slot> news_;
  Slot asked_;
  bool again_ = false;              // something changed meanwhile
  std::vector<std::string> paths_;  // of sessions not looked at yet
  bool one_works_ = false;          // of those that were
  bool works_ = false;
};

}  // namespace bus
