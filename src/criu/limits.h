// Limits of everything that CRIU or its images can make grow. Sizes in bytes.
#pragma once

#include <cstddef>

namespace criu {

// CRIU 4.2 keeps up to seven pipes open at once, and some that it has closed are not read yet; a
// run that opens more than this is failed.
inline constexpr std::size_t kPipesMax = 64;
// Images of one job: a handful for the whole, about six for each process.
inline constexpr std::size_t kImagesMax = 65536;
inline constexpr std::size_t kImageNameSizeMax = 255;  // as a file's name
// A request of the streaming protocol: the name, its tag and its length (protobuf), and slack.
inline constexpr std::size_t kRequestSizeMax = kImageNameSizeMax + 64;
// What is handed to a consumer at once: whole pages that fit into one record of the transport
// together with its header.
inline constexpr std::size_t kPieceSize = 60 * 1024;
// After so many pieces of one pipe the loop gets its turn (about 1 MiB).
inline constexpr std::size_t kPiecesPerTurn = 16;
// What a pipe is asked to hold. An unprivileged user over its quota keeps the kernel's 64 KiB.
inline constexpr int kPipeSize = 1024 * 1024;
// So much of the end of a log is searched for errors, and so much of it is reported.
inline constexpr std::size_t kLogReadMax = 1024 * 1024;
inline constexpr std::size_t kErrorTextMax = 2048;
// CRIU runs of one attempt: names end in -<n>.
inline constexpr unsigned kRunsMax = 1000;

static_assert(kRequestSizeMax > kImageNameSizeMax + 3);

}  // namespace criu
