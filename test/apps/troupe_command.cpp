#define BOOST_TEST_MODULE troupe_command
#include <boost/test/unit_test.hpp>

#include "build_id.hpp"
#include "hosts.hpp"
#include "mpi_kind.hpp"
#include "report.hpp"
#include "run_command.hpp"

#include "troupe/actors/loaded_module.hpp"

#include <chrono>

#include <elf.h>

using namespace command;
using namespace std::chrono_literals;

namespace {

bool says(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos)
    return true;
  BOOST_TEST_MESSAGE("no '" << part << "' in: " << text);
  return false;
}

template <class T>
std::string bytes_of(const T& x) {
  return {reinterpret_cast<const char*>(&x), sizeof x};
}

// A file with one segment of notes.
std::string elf_with(const std::string& notes) {
  ::Elf64_Ehdr header{};
  std::copy_n(ELFMAG, SELFMAG, header.e_ident);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_phoff = sizeof header;
  header.e_phnum = 1;
  ::Elf64_Phdr segment{};
  segment.p_type = PT_NOTE;
  segment.p_offset = sizeof header + sizeof segment;
  segment.p_filesz = notes.size();
  segment.p_align = 4;
  return bytes_of(header) + bytes_of(segment) + notes;
}

std::string note(std::uint32_t type, const std::string& content) {
  return bytes_of(::Elf64_Nhdr{4, static_cast<std::uint32_t>(content.size()), type}) + std::string{"GNU\0", 4} + content;
}

command_end run_sh(const std::string& script, std::chrono::milliseconds limit = 10s, const line_answer& answer = nullptr) {
  troupe::child_options what;
  what.program = "sh";
  what.args = {"-c", script};
  return run_command(what, limit, "one\n", answer);
}

} // namespace

BOOST_AUTO_TEST_CASE(the_build_id_of_a_file_is_the_one_that_the_loaded_program_has) {
  BOOST_TEST(build_id_of_file("/proc/self/exe") == troupe::detail::program_build_id());
  BOOST_TEST(build_id_of_file("/no/such/file") == "");
  BOOST_TEST(build_id_of_file("/etc/passwd") == "");
}

BOOST_AUTO_TEST_CASE(a_build_id_is_found_among_other_notes_and_nothing_is_read_beyond_the_end) {
  const auto good = elf_with(note(NT_GNU_ABI_TAG, "abcdefgh") + note(NT_GNU_BUILD_ID, "\x01\xab\xff\x10"));
  BOOST_TEST(build_id_in(good) == "01abff10");
  for (std::size_t n = 0; n < good.size(); ++n)
    BOOST_TEST(build_id_in(std::string_view{good}.substr(0, n)) == "", n);
  BOOST_TEST(build_id_in(elf_with(note(NT_GNU_ABI_TAG, "abcd"))) == "");
  BOOST_TEST(build_id_in(elf_with(bytes_of(::Elf64_Nhdr{4, 0xffffffff, NT_GNU_BUILD_ID}) + "GNU")) == "");
  BOOST_TEST(build_id_in(elf_with(bytes_of(::Elf64_Nhdr{0xffffffff, 4, NT_GNU_BUILD_ID}) + "GNU")) == "");
}

BOOST_AUTO_TEST_CASE(hexadecimal_is_read_or_refused) {
  BOOST_TEST(from_hex("7f454c46")
             == "\x7f"
                "ELF");
  for (auto text : {"7", "7g", "7F", " 7"})
    BOOST_TEST(from_hex(text) == "", text);
}

BOOST_AUTO_TEST_CASE(an_mpi_is_known_by_what_it_says) {
  const auto mpich = library_kind("MPICH Version:\t4.0.2\nMPICH Release date:\tThu Apr  7 12:34:45 CDT 2022\nMPICH Device:\tch4:ucx\n");
  BOOST_TEST(mpich.to_text() == "MPICH 4.0.2, device ch4:ucx");
  BOOST_TEST(library_kind("Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4").to_text() == "Open MPI 4.1.4");
  BOOST_TEST(starter_kind("mpirun (Open MPI) 4.1.4\n\nReport bugs to http://www.open-mpi.org/community/help/\n").to_text()
             == "Open MPI 4.1.4");
  BOOST_TEST(starter_kind("HYDRA build details:\n    Version:                                 4.0.2\n").to_text() == "MPICH 4.0.2");
  BOOST_TEST(starter_kind("HYDRA build details:     Version:      4.0.2     Release Date: ").version == "4.0.2"); // one line, from hosts
  BOOST_TEST(starter_kind("Intel(R) MPI Library for Linux* OS, Version 2021.8 Build 20221129").to_text() == "Intel MPI 2021.8");
  BOOST_TEST(starter_kind("command not found").name == "");
}

BOOST_AUTO_TEST_CASE(a_command_gives_its_output_and_its_end) {
  const auto end = run_sh("cat; echo two >&2; exit 3");
  BOOST_TEST(end.out == "one\n");
  BOOST_TEST(end.err == "two\n");
  BOOST_REQUIRE(end.state.has_value());
  BOOST_TEST(end.state->status == 3);
  BOOST_TEST(end.to_text() == "exited with status 3: two");
  BOOST_TEST(says(run_command("/no/such/program", {}, 1s).to_text(), "/no/such/program"));
}

BOOST_AUTO_TEST_CASE(a_command_that_is_too_slow_is_ended_with_what_it_has_started) {
  const auto start = std::chrono::steady_clock::now();
  const auto end = run_sh("echo early; trap '' TERM; sleep 100 & wait; sleep 100", 300ms);
  BOOST_TEST((std::chrono::steady_clock::now() - start < 10s));
  BOOST_TEST(end.too_slow());
  BOOST_TEST(!end.good());
  BOOST_TEST(end.out == "early\n");
  BOOST_TEST(says(end.to_text(), "has not ended within 0.3 s"));
}

BOOST_AUTO_TEST_CASE(a_command_that_leaves_its_output_open_is_not_waited_for) {
  const auto start = std::chrono::steady_clock::now();
  const auto end = run_sh("setsid sleep 5 & echo done");
  BOOST_TEST((std::chrono::steady_clock::now() - start < 4s));
  BOOST_TEST(end.good());
  BOOST_TEST(end.out == "done\n");
}

BOOST_AUTO_TEST_CASE(a_command_is_answered_line_by_line) {
  const auto end = run_sh("echo what; read a; read b; echo \"$a $b\"; cat", 10s, [](std::string_view line) -> std::optional<std::string> {
    if (line == "what")
      return "two\n";
    return std::nullopt; // cat ends
  });
  BOOST_TEST(end.out == "what\none two\n");
  BOOST_TEST(end.good());
}

BOOST_AUTO_TEST_CASE(columns_are_as_wide_as_what_stands_in_them) {
  BOOST_TEST(in_columns({{"host", "load"}, {"a.long.name", "0.5"}, {"b"}}) == "host         load\na.long.name  0.5\nb\n");
}

BOOST_AUTO_TEST_CASE(sizes_and_times_have_units) {
  BOOST_TEST(in_bytes(500) == "500 B");
  BOOST_TEST(in_bytes(1536) == "1.5 kB");
  BOOST_TEST(in_bytes(24.0 * (1ull << 30)) == "24.0 GB");
  BOOST_TEST(in_time(38e-6) == "38 us");
  BOOST_TEST(in_time(0.4e-6) == "0.4 us");
  BOOST_TEST(in_time(0.0042) == "4.2 ms");
  BOOST_TEST(in_time(0.042) == "42 ms");
  BOOST_TEST(in_time(2.5) == "2.50 s");
}

BOOST_AUTO_TEST_CASE(hosts_are_compared_with_this_one_and_with_each_other) {
  host_state here;
  here.told = {{"arch", "x86_64"}, {"machine", "me"}};
  host_state a{.machine = "a",
               .reached = 0.1,
               .failure = {},
               .advice = {},
               .clock = clock_difference{-3, 0.01},
               .told = {{"arch", "x86_64"}, {"machine", "1"}}};
  auto b = a;
  b.machine = "b";
  b.clock = clock_difference{3, 2.5}; // it may be less than a second
  b.told["arch"] = "aarch64";
  auto c = a;
  c.machine = "c";
  c.clock.reset();
  c.told = {{"arch", "x86_64"}, {"machine", "me"}, {"dir", "no"}};
  const host_question what{.ssh = {}, .dir = "/work"};
  const auto notes = host_notes({a, b, c}, here, what);
  std::vector<std::string> texts;
  for (auto& n : notes)
    texts.push_back(n.subject + ": " + n.text.substr(0, n.text.find(',')));
  const std::vector<std::string> expected{"a: its clock is 3.00 s behind", "b: it is aarch64", "b: is the same machine as a",
                                          "c: there is no directory /work", "c: is this machine"};
  BOOST_TEST(texts == expected, boost::test_tools::per_element());
}
