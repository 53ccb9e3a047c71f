#include "machine/requirement.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/wire.h"

namespace machine {
namespace {

Requirement example() {
  Requirement out;
  out.architecture = "x86_64";
  out.kernel = "6.18.44";
  out.criu = "4.2.1";
  out.cpu_flags = {"avx2", "sse2"};
  out.memory_bytes = 210 << 20;
  out.uids = {1000};
  out.gids = {27, 1000};
  RequiredFile folder{"/home/a", 0, S_IFDIR | 0755, {}};
  RequiredFile file{"/usr/bin/python3", 5, S_IFREG | 0755, {}};
  file.hash.fill(7);
  file.package = "python3-minimal 3.11.2-1+b1";
  out.files = {folder, file};
  out.ports = {{false, *base::Endpoint::parse("127.0.0.1:53")},
               {true, *base::Endpoint::parse("[::]:80")}};
  return out;
}

TEST(Requirement, RoundTrips) {
  const Requirement before = example();
  auto bytes = encode_requirement(before);
  ASSERT_TRUE(bytes.ok());
  auto after = decode_requirement(*bytes);
  ASSERT_TRUE(after.ok()) << after.error().detail;
  EXPECT_TRUE(before == *after);
}

// Of a job that was parked by an older tern, say.
TEST(Requirement, OlderOnesHaveNoPackages) {
  base::Writer old;
  old.array(10).u64(3).text("x86_64").text("6.1").text("4.0").array(0).u64(1).array(0).array(0);
  old.array(1).array(4).text("/usr/bin/python3").u64(5).u64(S_IFREG | 0755).bin(base::Bytes(32));
  old.array(0);
  auto read = decode_requirement(old.bytes());
  ASSERT_TRUE(read.ok()) << read.error().detail;
  EXPECT_EQ(read->files[0].path, "/usr/bin/python3");
  EXPECT_EQ(read->files[0].package, "");
}

TEST(Requirement, IsRefusedWhenCutOffOrExtended) {
  auto bytes = encode_requirement(example());
  ASSERT_TRUE(bytes.ok());
  for (std::size_t size = 0; size < bytes->size(); ++size) {
    SCOPED_TRACE(size);
    EXPECT_FALSE(decode_requirement(base::ByteView(*bytes).first(size)).ok());
  }
  bytes->push_back(0);
  EXPECT_FALSE(decode_requirement(*bytes).ok());
}

TEST(Requirement, OverItsSizeIsAnErrorOnBothSides) {
  Requirement large = example();
  large.files.clear();
  for (int i = 10000; i < 11000; ++i) {
    large.files.push_back({"/usr/lib/" + std::to_string(i), 1, S_IFREG | 0644, {}});
  }
  auto bytes = encode_requirement(large);
  ASSERT_FALSE(bytes.ok());
  EXPECT_EQ(bytes.error().code, base::Code::kTooLarge);
  EXPECT_EQ(decode_requirement(base::Bytes(kRequirementSizeMax + 1)).error().code,
            base::Code::kTooLarge);
}

TEST(Requirement, MistakesOfAPeerAreRefused) {
  struct Row {
    const char* name;
    void (*damage)(Requirement&);
  };
  const Row rows[] = {
      {"a path that climbs", [](Requirement& r) { r.files[1].path = "/usr/../etc/shadow"; }},
      {"a relative path", [](Requirement& r) { r.files[1].path = "usr"; }},
      {"a path in /proc", [](Requirement& r) { r.files[1].path = "/proc/1/mem"; }},
      {"a package with a line break", [](Requirement& r) { r.files[1].package = "a\nb"; }},
      {"a device", [](Requirement& r) { r.files[1].mode = S_IFCHR | 0600; }},
      {"a folder with content", [](Requirement& r) { r.files[0].size = 1; }},
      {"files twice", [](Requirement& r) { r.files[0] = r.files[1]; }},
      {"a port that is none", [](Requirement& r) { r.ports[0].at.port = 0; }},
      {"ports twice", [](Requirement& r) { r.ports[1] = r.ports[0]; }},
      {"ids out of order",
       [](Requirement& r) {
         r.gids = {5, 5};
       }},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Requirement damaged = example();
    row.damage(damaged);
    auto bytes = encode_requirement(damaged);
    ASSERT_TRUE(bytes.ok());
    EXPECT_FALSE(decode_requirement(*bytes).ok());
  }
}

TEST(Requirement, PathsAreAbsoluteAndPlain) {
  for (const char* good : {"/", "/a", "/a/b", "/process", "/a.b/..c"}) {
    SCOPED_TRACE(good);
    EXPECT_TRUE(valid_required_path(good));
  }
  for (const char* bad :
       {"", "a", "//", "/a/", "/a//b", "/.", "/a/..", "/proc", "/proc/1", "/sys/kernel", "/a\nb"}) {
    SCOPED_TRACE(bad);
    EXPECT_FALSE(valid_required_path(bad));
  }
}

}  // namespace
}  // namespace machine
