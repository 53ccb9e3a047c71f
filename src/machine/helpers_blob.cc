// The programs' bytes. A file of its own, so that only this one is built again with them.
#include "machine/helpers.h"

// NOLINTBEGIN
asm(R"(
    .section .rodata
    .balign 16
tern_init_begin:
    .incbin ")" TERN_INIT_FILE R"("
tern_init_end:
    .balign 16
tern_keeper_begin:
    .incbin ")" TERN_KEEPER_FILE R"("
tern_keeper_end:
    .global tern_init_begin
    .global tern_init_end
    .global tern_keeper_begin
    .global tern_keeper_end
    .previous
)");

extern "C" {
extern const std::uint8_t tern_init_begin[];
extern const std::uint8_t tern_init_end[];
extern const std::uint8_t tern_keeper_begin[];
extern const std::uint8_t tern_keeper_end[];
}
// NOLINTEND

namespace machine {

base::ByteView embedded_init() { return {tern_init_begin, tern_init_end}; }
base::ByteView embedded_keeper() { return {tern_keeper_begin, tern_keeper_end}; }

}  // namespace machine
