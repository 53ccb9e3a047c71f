// Ports that jobs hold, against recorded tables of Linux 6.18 and hostile ones.
#include "machine/ports.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>

#include "machine/fd.h"

namespace machine {
namespace {

using base::Endpoint;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kTcp[] =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "
    "inode                                                     \n"
    "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 "
    "1 1 0000000000000000 100 0 0 10 0                       \n"
    "   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 "
    "2 1 0000000000000000 100 0 0 10 0                       \n"
    "   2: 0100007F:9C40 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 "
    "3 1 0000000000000000 20 4 30 10 -1                      \n";
constexpr char kTcp6[] =
    "  sl  local_address                         remote_address                        st tx_queue "
    "rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    "   0: B80D0120000000000000000001000000:01BB 00000000000000000000000000000000:0000 0A "
    "00000000:00000000 00:00000000 00000000     0        0 4 1 0000000000000000 100 0 0 10 0\n";

Endpoint at(const char* text) { return *Endpoint::parse(text); }

TEST(Ports, AreReadFromTheTablesOfSockets) {
  const auto v4 = parse_proc_net(kTcp, true);
  ASSERT_TRUE(v4.ok()) << v4.error().detail;
  EXPECT_THAT(
      *v4, ElementsAre(BoundPort{true, at("127.0.0.1:8080")}, BoundPort{true, at("0.0.0.0:22")}));
  const auto v6 = parse_proc_net(kTcp6, true);
  ASSERT_TRUE(v6.ok());
  EXPECT_THAT(*v6, ElementsAre(BoundPort{true, at("[2001:db8::1]:443")}));
}

TEST(Ports, DamagedTablesAreRefusedAndNoneIsReadPast) {
  const std::string whole = kTcp;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    SCOPED_TRACE(size);
    (void)parse_proc_net(whole.substr(0, size), true);
  }
  for (const char* bad :
       {"", "x", "local_address\n  0: 0100007F:1F90\n", "local_address\n 0: 0100007:1F90 0:0 0A\n",
        "local_address\n 0: 0100007F:FFFFF 0:0 0A\n",
        "local_address\n 0: 0100007G:1F90 0:0 0A\n"}) {
    SCOPED_TRACE(bad);
    EXPECT_FALSE(parse_proc_net(bad, true).ok());
  }
}

TEST(Ports, CollideWhereBothCannotBe) {
  struct Row {
    const char* a;
    const char* b;
    bool collide;
  };
  const Row rows[] = {
      {"127.0.0.1:80", "127.0.0.1:80", true},  {"127.0.0.1:80", "127.0.0.1:81", false},
      {"127.0.0.1:80", "127.0.0.2:80", false}, {"0.0.0.0:80", "127.0.0.2:80", true},
      {"[::]:80", "127.0.0.2:80", true},       {"0.0.0.0:80", "[2001:db8::1]:80", false},
      {"[::]:80", "0.0.0.0:80", true},         {"[::]:80", "[2001:db8::1]:80", true},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(std::string(row.a) + " " + row.b);
    EXPECT_EQ(ports_collide({true, at(row.a)}, {true, at(row.b)}), row.collide);
    EXPECT_EQ(ports_collide({true, at(row.b)}, {true, at(row.a)}), row.collide);
    EXPECT_FALSE(ports_collide({true, at(row.a)}, {false, at(row.b)}));
  }
}

TEST(Ports, EachObstacleIsASentence) {
  const std::vector<BoundPort> wanted = {
      {true, at("0.0.0.0:8080")}, {true, at("192.0.2.7:9")}, {false, at("127.0.0.1:53")}};
  const std::vector<Endpoint> own = {at("127.0.0.1:0"), at("192.0.2.1:0")};
  EXPECT_THAT(port_refusals(wanted, {{true, at("[::]:8080")}}, own),
              ElementsAre(HasSubstr("TCP port 8080"), HasSubstr("192.0.2.7:9")));
  EXPECT_THAT(port_refusals({wanted[0], wanted[2]}, {{true, at("127.0.0.1:53")}}, own), IsEmpty());
}

TEST(Ports, LoopbackAndGroupsAreAnyMachines) {
  const std::vector<Endpoint> own = {at("127.0.0.1:0"), at("192.0.2.1:0")};
  const std::vector<BoundPort> wanted = {{true, at("127.0.1.1:80")},
                                         {false, at("239.1.2.3:5353")},
                                         {false, at("224.0.0.251:5353")},
                                         {false, at("[ff02::fb]:5353")}};
  EXPECT_THAT(port_refusals(wanted, {}, own), IsEmpty());
  EXPECT_THAT(port_refusals(wanted, {wanted[1]}, own), ElementsAre(HasSubstr("is taken here")));
  // Without a loopback interface none of 127.0.0.0/8 is there.
  EXPECT_THAT(port_refusals({wanted[0]}, {}, {own[1]}), ElementsAre(HasSubstr("127.0.1.1")));
  EXPECT_THAT(
      port_refusals({{true, at("[2001:db8::7f00:1]:80")}, {true, at("128.0.0.1:80")}}, {}, own),
      ::testing::SizeIs(2));
}

TEST(Ports, WhatListensHereIsTaken) {
  const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in local{};
  local.sin_family = AF_INET;
  local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof local;
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&local), size), 0);
  ASSERT_EQ(::listen(socket.get(), 1), 0);
  ASSERT_EQ(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&local), &size), 0);
  const BoundPort port{true, Endpoint::v4({127, 0, 0, 1}, ntohs(local.sin_port))};
  EXPECT_THAT(ports_taken(), ::testing::Contains(port));
  EXPECT_THAT(port_refusals({port}, ports_taken(), own_addresses()),
              ElementsAre(HasSubstr("taken here")));
}

}  // namespace
}  // namespace machine
