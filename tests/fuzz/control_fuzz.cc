// What either end of the control socket reads: the first byte picks the side, the rest arrives in
// pieces whose size it also picks. Whatever parses must read back from what is written of it.
#include "base/check.h"
#include "control/input.h"
#include "control/line_reader.h"
#include "control/report.h"
#include "control/request.h"
#include "control/response.h"
#include "control/share_report.h"

namespace {

void as_daemon(const std::string& line) {
  if (auto input = control::parse_input(line)) {
    const std::string text = control::encode(*input);
    auto same = control::parse_input(std::string_view(text).substr(0, text.size() - 1));
    CHECK(same.ok());
    CHECK(same->index() == input->index());
  }
  auto request = control::parse_request(line);
  if (!request) return;
  auto again = control::encode(*request);
  if (!again) return;  // base64 of odd bytes may grow it past the limit
  again->pop_back();
  auto back = control::parse_request(*again);
  CHECK(back.ok());
  CHECK(back->index() == request->index());
}

void as_client(const std::string& line) {
  (void)control::parse_status(line);
  (void)control::parse_jobs(line);
  (void)control::parse_ping(line);
  (void)control::parse_handover(line);
  (void)control::parse_settings(line);
  (void)control::parse_trial(line);
  (void)control::parse_exit(line);
  (void)control::parse_inbox(line);
  (void)control::parse_policy(line);
  (void)control::parse_share_target(line);
  (void)control::parse_share_event(line);
  (void)control::parse_input_news(line);
  auto response = control::parse_response(line);
  if (!response) return;
  if (const auto* event = std::get_if<control::Event>(&*response)) {
    auto output = control::parse_output(event->json);
    if (output) CHECK(control::output_line(*output).size() <= control::kLineBytesMax);
  }
  if (const auto* final = std::get_if<control::Final>(&*response)) {
    if (final->ok) CHECK(control::done_line(final->data).ok());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const bool daemon_side = (data[0] & 1) != 0;
  const std::size_t piece = 1 + (data[0] >> 1);
  control::LineReader reader;
  base::ByteView rest = base::ByteView(data, size).subspan(1);
  while (!rest.empty()) {
    const std::size_t taken = std::min(piece, rest.size());
    (void)reader.feed(rest.first(taken));
    rest = rest.subspan(taken);
    while (auto line = reader.next()) daemon_side ? as_daemon(*line) : as_client(*line);
  }
  return 0;
}
