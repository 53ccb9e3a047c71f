#include "control/doctor.h"

#include "control/json.h"

namespace control {

std::string checks_to_json(const std::vector<Check>& checks) {
  std::vector<std::string> list;
  for (const Check& check : checks) {
    JsonWriter out;
    out.text("name", check.name).boolean("ok", check.ok);
    out.text("detail", check.detail).text("mend", check.mend);
    if (check.note) out.boolean("note", true);
    list.push_back(out.finish());
  }
  return JsonWriter().raw_list("checks", list).finish();
}

}  // namespace control
