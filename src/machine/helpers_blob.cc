// The programs' bytes. A file of its own, so that only this one is built again with them.
#include "machine/helpers.h"

// NOLINTBEGIN
asm(R"(
    .section .rodata
    .balign 16
tern_init_begin:
    .incbin ")" TERN_HELPERS R"(/tern-init"
tern_init_end:
    .balign 16
tern_keeper_begin:
    .incbin ")" TERN_HELPERS R"(/tern-keeper"
tern_keeper_end:
    .balign 16
tern_guard_begin:
    .incbin ")" TERN_HELPERS R"(/tern-guard"
tern_guard_end:
    .balign 16
tern_gentle_begin:
    .incbin ")" TERN_HELPERS R"(/tern-gentle"
tern_gentle_end:
    .balign 16
tern_enter_begin:
    .incbin ")" TERN_HELPERS R"(/tern-enter"
tern_enter_end:
    .balign 16
tern_procview_begin:
    .incbin ")" TERN_HELPERS R"(/tern-procview"
tern_procview_end:
    .global tern_init_begin
    .global tern_init_end
    .global tern_keeper_begin
    .global tern_keeper_end
    .global tern_guard_begin
    .global tern_guard_end
    .global tern_gentle_begin
    .global tern_gentle_end
    .global tern_enter_begin
    .global tern_enter_end
    .global tern_procview_begin
    .global tern_procview_end
    .previous
)");

extern "C" {
extern const std::uint8_t tern_init_begin[];
extern const std::uint8_t tern_init_end[];
extern const std::uint8_t tern_keeper_begin[];
extern const std::uint8_t tern_keeper_end[];
extern const std::uint8_t tern_guard_begin[];
extern const std::uint8_t tern_guard_end[];
extern const std::uint8_t tern_gentle_begin[];
extern const std::uint8_t tern_gentle_end[];
extern const std::uint8_t tern_enter_begin[];
extern const std::uint8_t tern_enter_end[];
extern const std::uint8_t tern_procview_begin[];
extern const std::uint8_t tern_procview_end[];
}
// NOLINTEND

namespace machine {

base::ByteView embedded_init() { return {tern_init_begin, tern_init_end}; }
base::ByteView embedded_keeper() { return {tern_keeper_begin, tern_keeper_end}; }
base::ByteView embedded_guard() { return {tern_guard_begin, tern_guard_end}; }
base::ByteView embedded_gentle() { return {tern_gentle_begin, tern_gentle_end}; }
base::ByteView embedded_enter() { return {tern_enter_begin, tern_enter_end}; }
base::ByteView embedded_procview() { return {tern_procview_begin, tern_procview_end}; }

}  // namespace machine
