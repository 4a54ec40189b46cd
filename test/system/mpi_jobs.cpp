#define BOOST_TEST_MODULE mpi_jobs
// MPI jobs whose ranks are workers of a master that is none of them, and functions that all ranks of a job run together, in each mode.
#include <boost/test/unit_test.hpp>

#include "system/mpi_runs.hpp"

#include <sys/stat.h>

using namespace faults;
using namespace std::chrono_literals;

namespace {

// The same program in each mode, with as many ranks.
struct mode {
  std::string name;
  std::string first_rank; // its process
  std::function<run(std::vector<std::string>)> start;
};

std::vector<mode> modes(int ranks) {
  std::vector<mode> out;
  out.push_back({"outside", "2", [ranks](std::vector<std::string> args) {
                   args.insert(args.end(), {"--np", std::to_string(ranks)});
                   return run{program("mpi_work"), std::move(args)};
                 }});
  for (auto& name : mpi_modes)
    out.push_back({name, "1", [ranks, name](std::vector<std::string> args) {
                     args.push_back(name);
                     return mpirun(ranks, "mpi_work", std::move(args));
                   }});
  return out;
}

void check_ends_well(run& r, std::string_view err = "") {
  const auto end = r.end(40s);
  BOOST_TEST(end.state.status == 0);
  BOOST_TEST(end.err == err);
  BOOST_TEST(r.value("finished") == "yes");
  r.check_nothing_left();
}

void check_functions(run& r) {
  BOOST_TEST(r.value("results") == "42 142 242");
  BOOST_TEST(r.value("sums") == "3 3 3");
  BOOST_TEST(r.value("ring") == "8 0 4");
  BOOST_TEST(r.value("with values") == "1048577 1048577 1048577");
  BOOST_TEST(r.value("texts") == "rank 0 of 3 rank 1 of 3 rank 2 of 3");
}

// A launch that must fail: soon, with nothing left behind. Returns the error.
std::string why_not(std::vector<std::string> args, milliseconds at_least, milliseconds at_most) {
  run r{program("mpi_work"), std::move(args)};
  const auto end = r.end(40s);
  BOOST_TEST(end.state.status == 3);
  BOOST_TEST(r.value("launch") == "failed");
  BOOST_TEST(r.value("joined") == "0");
  const auto seconds = std::stod(r.value("after"));
  BOOST_TEST(seconds >= std::chrono::duration<double>(at_least).count());
  BOOST_TEST(seconds < std::chrono::duration<double>(at_most).count());
  r.check_nothing_left();
  return end.out.substr(end.out.find("why: "));
}

} // namespace

// MP-01, MP-05, MP-06, MP-07, MP-08, MP-11, MP-15, MP-30
BOOST_AUTO_TEST_CASE(each_rank_is_a_process_and_the_maps_tell_which) {
  for (auto& m : modes(3)) {
    auto r = m.start({"--what", "maps"});
    check_ends_well(r);
    const bool outside = m.first_rank == "2";
    BOOST_TEST(r.value("job 0 mpi_to_proc") == (outside ? "0-2 1-3 2-4" : "0-1 1-2 2-3"));
    BOOST_TEST(r.value("job 0 proc_to_mpi") == (outside ? "2-0 3-1 4-2" : "1-0 2-1 3-2"));
    BOOST_TEST(r.value("job 0 procs") == (outside ? "2 3 4" : "1 2 3"));
    BOOST_TEST(r.value("job 0 mpi_procs") == "0 1 2");
    BOOST_TEST(r.value("job 0 seen") == r.value("job 0 mpi_to_proc"));
  }
  auto alone = mpirun(1, "mpi_work", {"--mpi-transport", "--what", "maps"});
  check_ends_well(alone);
  BOOST_TEST(alone.value("job 0 mpi_to_proc") == "0-1");
}

// MP-09
BOOST_AUTO_TEST_CASE(several_jobs_and_local_workers_are_one_cluster) {
  run r{program("mpi_work"), {"--jobs", "2", "--np", "2", "-p", "2", "--what", "maps"}};
  check_ends_well(r);
  BOOST_TEST(r.value("job 0 mpi_to_proc") == "0-4 1-5");
  BOOST_TEST(r.value("job 1 mpi_to_proc") == "0-6 1-7");
  BOOST_TEST(r.value("job 1 seen") == "0-6 1-7");
  run twice{program("mpi_work"), {"--what", "twice"}};
  check_ends_well(twice);
  check_says(twice.value("twice"), {"has started its job already"});
}

BOOST_AUTO_TEST_CASE(two_jobs_and_local_workers_all_talk_to_each_other) {
  run r{program("mpi_work"), {"--jobs", "2", "--np", "2", "-p", "2", "--what", "talk"}};
  check_ends_well(r);
  BOOST_TEST(r.value("right") == "49 of 49");
  auto mixed = mpirun(2, "mpi_work", {"--mpi-transport", "-p", "2", "--what", "talk", "--more", "1", "--np", "2"});
  check_ends_well(mixed);
  BOOST_TEST(mixed.value("right") == "36 of 36");
}

BOOST_AUTO_TEST_CASE(named_values_are_passed_on_from_rank_to_rank) {
  for (auto& m : modes(6)) {
    auto r = m.start({"--what", "named"});
    check_ends_well(r);
    const bool outside = m.first_rank == "2";
    BOOST_TEST(r.value("right") == (outside ? "7 of 7" : "6 of 6"));
  }
}

BOOST_AUTO_TEST_CASE(mpi_is_an_option_of_every_program) {
  run r{program("mpi_work"), {"--mpi", "2", "--what", "maps"}};
  check_ends_well(r);
  BOOST_TEST(r.value("job 0 mpi_to_proc") == "0-2 1-3");
  run with_command{program("mpi_work"), {"--mpi", "2", "--mpi-cmd", "mpirun -n {np} 'env' A=1", "--what", "maps"}};
  check_ends_well(with_command);
  auto beside = mpirun(2, "mpi_work", {"--mpi-transport", "--mpi", "2", "-p", "1", "--what", "talk"});
  check_ends_well(beside);
  BOOST_TEST(beside.value("right") == "25 of 25");
  run wrong{program("mpi_work"), {"--mpi", "none"}};
  BOOST_TEST(wrong.end().state.status == 2);
}

// MP-18, MP-19, MP-21
BOOST_AUTO_TEST_CASE(a_function_runs_on_all_ranks_and_its_results_come_by_rank) {
  for (auto& m : modes(3)) {
    auto r = m.start({"--what", "functions"});
    check_ends_well(r);
    check_functions(r);
  }
}

// MP-20
BOOST_AUTO_TEST_CASE(what_some_ranks_throw_ends_the_others_collective) {
  for (auto& m : modes(3)) {
    auto r = m.start({"--what", "errors"});
    check_ends_well(r);
    const auto outside = m.first_rank == "2";
    BOOST_TEST(r.value("thrown")
               == (outside ? "[3 thrown by rank 1 std::domain_error] [4 thrown by rank 2 std::domain_error]"
                           : "[2 thrown by rank 1 std::domain_error] [3 thrown by rank 2 std::domain_error]"));
    BOOST_TEST(r.value("soon") == "yes");
    check_functions(r); // with another communicator
    check_says(r.out(), {"finished"});
    BOOST_TEST(!contains(r.out(), "UCX"));
  }
}

// MP-31
BOOST_AUTO_TEST_CASE(deadlines_tokens_and_interrupts_end_a_function_wherever_it_waits) {
  for (auto& m : modes(3)) {
    auto r = m.start({"--what", "limits", "--threads", "2"});
    check_ends_well(r);
    BOOST_TEST(r.value("deadline") == "deadline_exceeded soon");
    BOOST_TEST(r.value("token") == "cancelled soon");
    BOOST_TEST(r.value("token again") == "cancelled soon");
    BOOST_TEST(r.value("interrupt") == "interrupted soon");
    BOOST_TEST(r.value("next") == "soon");
  }
}

// MP-22, MP-36
BOOST_AUTO_TEST_CASE(functions_that_are_ended_while_they_begin_hold_up_nobody) {
  for (auto& m : modes(3)) {
    auto r = m.start({"--what", "short"});
    BOOST_TEST(r.end(60s).state.status == 0);
    BOOST_TEST(r.value("short calls") == "soon");
    r.check_nothing_left();
  }
}

BOOST_AUTO_TEST_CASE(calls_go_on_while_ranks_wait_in_a_collective) {
  for (auto& m : modes(3)) {
    auto r = m.start({"--what", "traffic"});
    check_ends_well(r);
    BOOST_TEST(r.value("calls beside a barrier") == "many");
    BOOST_TEST_MESSAGE(m.name << ": a call took at most " << r.value("longest")
                              << " s, CPU of 3 ranks in 2 s: " << r.value("cpu beside a barrier"));
    BOOST_TEST(std::stod(r.value("cpu beside a barrier")) < 3); // those that ask all the time use 4 and more
  }
}

BOOST_AUTO_TEST_CASE(two_functions_at_once_take_turns) {
  for (auto& m : modes(3)) {
    auto r = m.start({"--what", "turns"});
    check_ends_well(r);
    BOOST_TEST(r.value("overlapped") == "0");
    BOOST_TEST(r.value("inside") == "refused");
  }
}

// MP-12, MP-24, MP-25
BOOST_AUTO_TEST_CASE(ranks_that_have_nothing_to_do_use_nothing_and_answer_at_once) {
  for (auto& m : modes(4)) {
    auto r = m.start({"--what", "idle"});
    check_ends_well(r);
    BOOST_TEST(r.value("squares") == "385");
    BOOST_TEST_MESSAGE(m.name << ": in 5 s all used " << r.value("idle") << " s of CPU; the first call then took " << r.value("first call")
                              << " s");
    BOOST_TEST(std::stod(r.value("idle")) < 1); // those that ask all the time use 10
  }
  const auto threads = [](int ranks) {
    auto r = mpirun(ranks, "mpi_work", {"--mpi-transport", "--what", "threads"});
    check_ends_well(r);
    return r.number("threads");
  };
  const auto few = threads(2), more = threads(7);
  BOOST_TEST(few == more);
}

// MP-03
BOOST_AUTO_TEST_CASE(the_launcher_is_called_as_the_options_say) {
  const temporary_folder folder;
  const auto launcher = folder.with("launcher", "#!/bin/sh\npwd\nfor x in \"$@\"; do echo \"<$x>\"; done\nexit 4\n");
  ::chmod(launcher.c_str(), 0700);
  run r{program("mpi_work"), {"--command", launcher + " -n {np} --flag 'two words'", "--dir", folder / ""}};
  const auto end = r.end(20s);
  BOOST_TEST(end.state.status == 3);
  check_says(end.out, {"0 of 3 ranks came", "exited with status 4", "<-n>\n", "<3>\n", "<--flag>\n", "<two words>\n", "/mpi_work>\n",
                       "<--here>\n", "<--worker>\n"});
  check_says(end.out, {(folder / "").substr(0, (folder / "").size() - 1) + "\n"});
}

// MP-32
BOOST_AUTO_TEST_CASE(a_rank_that_is_removed_leaves_the_others_a_job) {
  for (auto& m : modes(3)) {
    auto r = m.start({"--what", "remove"});
    check_ends_well(r);
    BOOST_TEST(std::stod(r.value("removed after")) < 2);
    BOOST_TEST(r.value("left") == (m.first_rank == "2" ? "0-2 2-4" : "0-1 2-3"));
    BOOST_TEST(r.value("sums") == "2 2");
    BOOST_TEST(r.value("parked") == "idle");
  }
}

// MP-29, MP-33
BOOST_AUTO_TEST_CASE(what_ranks_print_is_labelled) {
  for (auto& m : modes(3)) {
    auto r = m.start({"--what", "output"});
    const auto end = r.end(30s);
    BOOST_TEST(end.state.status == 0);
    const auto all = end.out + end.err;
    for (std::string id : {"2", "3"})
      check_says(all,
                 {"      From worker " + id + ":\tto stdout by " + id + "\n", "      From worker " + id + ":\tto stderr by " + id + "\n"});
    check_says(all,
               {m.first_rank == "2" ? "      From worker 4:\tlast, without an end\n" : "      From worker 3:\tlast, without an end\n"});
    r.check_nothing_left();
  }
  run handled{program("mpi_work"), {"--what", "output", "--handler", "yes"}};
  check_ends_well(handled);
  check_says(handled.out(), {"handled: 3 to stdout by 3\n", "handled: 3 to stderr by 3\n", "handled: 4 last, without an end\n"});
}

BOOST_AUTO_TEST_CASE(what_ranks_print_can_be_handled_in_each_mode) {
  for (auto& m : modes(3)) {
    auto r = m.start({"--what", "flood"});
    check_ends_well(r);
    BOOST_TEST(r.value("of the one that left") == "10000");
    BOOST_TEST(r.value("of another") == "10000");
    BOOST_TEST(r.value("wrong") == "0");
    check_says(r.out(), {"      From worker 2:\tprinted again\n"});
  }
  for (auto& mode : mpi_modes) {
    auto r = mpirun(3, "mpi_work", {mode, "--what", "output", "--handler", "yes"});
    check_ends_well(r);
    check_says(r.out(),
               {"2 to stdout by 2\n", "2 to stderr by 2\n", "3 to stdout by 3\n", "3 to stderr by 3\n", "3 last, without an end\n"});
    BOOST_TEST(r.out().find("From worker") == std::string::npos, r.out());
    for (int i = 0; i < 5; ++i) { // by the handler or, where the rank has not come to hand them over, by its launcher
      run dies{"/usr/bin/mpirun", {"-disable-auto-cleanup", "-n", "3", program("mpi_work"), mode, "--what", "words", "--handler", "yes"}};
      const auto end = dies.end(30s);
      BOOST_TEST(dies.value("died") == "yes");
      check_says(end.out + end.err, {"last words\n", "not the whole of a line\n"});
      dies.check_nothing_left();
    }
  }
}

// MP-35
BOOST_AUTO_TEST_CASE(a_rank_that_dies_takes_its_job_along_and_nobody_else) {
  run r{program("mpi_work"), {"--what", "kill", "-p", "1"}};
  const auto end = r.end(30s);
  BOOST_TEST(end.state.status == 0);
  BOOST_TEST(r.value("finished") == "yes");
  check_says(r.value("killed"), {"worker 4", "was killed by signal 9 (Killed)"});
  check_says(r.value("other"), {"worker 5", "went with its MPI job: rank 1 (worker 4) was killed by signal 9 (Killed)"});
  BOOST_TEST(r.value("processes") == "2");
  check_says(end.out, {"      From worker 4:\tlast words of a rank"});
  BOOST_TEST(!contains(end.out, "BAD TERMINATION"));
  r.check_nothing_left();
}

BOOST_AUTO_TEST_CASE(the_end_of_a_rank_is_told_as_it_was) {
  for (auto [how, text] : {std::pair{"exit", "exited with status 3"}, std::pair{"abort", "was killed by signal 6 (Aborted)"},
                           std::pair{"mpi_abort", "exited with status 5"}, std::pair{"silent", "exited with status 0"}}) {
    run r{program("mpi_work"), {"--what", "kill", "--how", how, "-p", "1"}};
    BOOST_TEST(r.end(30s).state.status == 0);
    check_says(r.value("killed"), {"worker 4", text});
    check_says(r.value("other"), {"worker 5"});
    r.check_nothing_left();
  }
}

// MP-35
BOOST_AUTO_TEST_CASE(with_a_launcher_that_cleans_up_nothing_a_rank_dies_alone) {
  for (std::string how : {"kill", "abort", "exit", "silent"})
    for (std::string beside : {"no", "yes"}) {
      const std::vector<std::string> args{"--what", "kill", "--how", how, "--beside=" + beside};
      const auto check = [&](run& r, std::string_view left) {
        const auto end = r.end(30s);
        BOOST_TEST(end.state.status == 0, how << ", " << beside << ": " << end.state.to_text() << "\n" << end.out << end.err);
        BOOST_TEST(r.value("finished") == "yes");
        BOOST_TEST(r.value("other") == "lives");
        BOOST_TEST(r.value("left") == left);
        BOOST_TEST(r.value("sums") == "3 3 3");
        if (beside == "yes")
          check_says(r.value("in a collective"), {"worker"});
        r.check_nothing_left();
      };
      auto outside_args = args;
      outside_args.insert(outside_args.end(), {"--np", "4", "--command", "mpirun -disable-auto-cleanup -n {np}"});
      run outside{program("mpi_work"), outside_args};
      check(outside, "0-2 1-3 3-5");
      for (auto& name : mpi_modes) {
        std::vector<std::string> all{"-disable-auto-cleanup", "-n", "4", program("mpi_work"), name};
        all.insert(all.end(), args.begin(), args.end());
        run r{"/usr/bin/mpirun", all};
        check(r, "0-1 1-2 3-4");
      }
    }
}

BOOST_AUTO_TEST_CASE(where_ranks_die_alone_the_program_s_status_is_told_and_a_removed_rank_ends) {
  for (auto& name : mpi_modes) {
    run r{"/usr/bin/mpirun", {"-disable-auto-cleanup", "-n", "3", program("mpi_cluster"), name, "--what", "none"}};
    BOOST_TEST(r.end(20s).state.status == 7);
    r.check_nothing_left();
    run both{"/usr/bin/mpirun", {"-disable-auto-cleanup", "-n", "5", program("mpi_work"), name, "--what", "kill", "--remove-before"}};
    BOOST_TEST(both.end(30s).state.status == 0);
    BOOST_TEST(both.value("other") == "lives");
    BOOST_TEST(both.value("left") == "0-1 2-3 4-5");
    both.check_nothing_left();
  }
  run outside{program("mpi_work"), {"--command", "mpirun -disable-auto-cleanup -n {np}", "--np", "5", "--what", "kill", "--remove-before"}};
  BOOST_TEST(outside.end(30s).state.status == 0);
  BOOST_TEST(outside.value("left") == "0-2 2-4 4-6");
  outside.check_nothing_left();
}

// MP-10, MP-44
BOOST_AUTO_TEST_CASE(a_launch_that_fails_says_why_and_leaves_nothing) {
  check_says(why_not({"--command", "mpirun -n 2"}, 0ms, 4s), {"2 of 3 ranks came", "'mpirun -n 2'"});
  check_says(why_not({"--command", "mpirun -n 4"}, 0ms, 4s), {"4 of 3 ranks came", "'mpirun -n 4'"});
  check_says(why_not({"--command", "false"}, 0ms, 2s), {"0 of 3 ranks came", "'false' exited with status 1"});
  check_says(why_not({"--command", "troupe-no-such-mpirun -n 3"}, 0ms, 2s), {"troupe-no-such-mpirun", "No such file or directory"});
  check_says(why_not({"--command", "mpirun -nosuch"}, 0ms, 2s), {"exited with status 255", "unrecognized argument nosuch"});
  check_says(why_not({"--command", "sh -c 'exec sleep 100'", "--timeout", "1"}, 1s, 5s), {"0 of 3 ranks came within 1000 ms", "sleep 100"});
  check_says(why_not({"--command", "mpirun -n 3 sh -c 'exec sleep 100'", "--timeout", "1"}, 1s, 5s), {"0 of 3 ranks came within 1000 ms"});
  for (auto nothing : {"", " "}) {
    run empty{program("mpi_work"), {"--command", nothing}};
    BOOST_TEST(empty.end().state.status == 1);
    check_says(empty.err(), {"mpi_cmd", "it is empty"});
  }
}

// MP-42, CK-08
BOOST_AUTO_TEST_CASE(the_cookie_is_on_no_command_line_and_in_no_environment) {
  const temporary_folder folder;
  const auto file = folder.with("cookie", "Zq9secretcookie7\n");
  ::chmod(file.c_str(), 0600);
  run r{program("mpi_work"), {"--what", "wait", "--cookie-file", file}};
  r.wait_for("ready: yes\n");
  int looked = 0;
  for (auto pid : r.processes())
    for (auto part : {"cmdline", "environ"}) {
      BOOST_TEST(!contains(read_file("/proc/" + std::to_string(pid) + "/" + part), "Zq9secret"));
      ++looked;
    }
  BOOST_TEST(looked >= 10);
  r.signal(SIGINT);
  r.end(20s);
  r.check_nothing_left();
}

// MP-43
BOOST_AUTO_TEST_CASE(strangers_at_the_master_s_door_are_no_ranks) {
  run r{program("mpi_work"), {"--what", "maps", "--command", "sh -c 'sleep 1; exec mpirun -n 3 \"$0\" \"$@\"'"}};
  std::vector<std::string> doors;
  BOOST_REQUIRE(eventually([&] { return !(doors = listening(r.pid())).empty(); }, 5s));
  const auto port = std::stoi(doors.front().substr(doors.front().find(':') + 1), nullptr, 16);
  const auto silent = dial(port);
  const auto noisy = dial(port);
  write_all(noisy, "GET / HTTP/1.1\r\n\r\n");
  BOOST_TEST(is_hung_up(noisy, 3s));
  r.wait_for("finished: yes");
  BOOST_TEST(r.value("job 0 mpi_to_proc") == "0-2 1-3 2-4");
  BOOST_TEST(r.end(20s).state.status == 0);
  r.check_nothing_left();
}

BOOST_AUTO_TEST_CASE(no_way_to_end_the_master_leaves_a_rank) {
  for (int number : {SIGINT, SIGTERM, SIGKILL})
    for (auto& m : modes(3)) {
      auto r = m.start({"--what", "wait"});
      r.wait_for("ready: yes\n");
      if (m.name == "outside" || number != SIGKILL) {
        r.signal(number);
      } else {
        for (auto pid : running(r, "mpi_work"))
          if (contains(read_file("/proc/" + std::to_string(pid) + "/environ"), "PMI_RANK=0"))
            ::kill(pid, SIGKILL);
      }
      const auto end = r.end(20s);
      // the status of an mpirun that was sent these is 0 now and then, with bare MPI programs, too
      if (m.name == "outside" || number == SIGKILL)
        BOOST_TEST(end.state.status != 0, "signal " << number << ", " << m.name);
      r.check_nothing_left();
    }
}

BOOST_AUTO_TEST_CASE(ranks_that_are_about_to_leave_go_with_the_master) {
  run r{program("mpi_work"), {"--np", "3", "--what", "stuck"}};
  r.wait_for("this rank stays until its job is ended");
  r.read_for(1s); // now all of them do, and have nothing to write that would tell them
  r.signal(SIGKILL);
  r.end(10s);
  r.check_nothing_left();
}

BOOST_AUTO_TEST_CASE(what_cannot_be_ended_holds_up_the_end_for_a_moment_only) {
  for (auto& m : modes(3)) {
    auto r = m.start({"--what", "stuck"});
    const auto begin = clock::now();
    const auto end = r.end(30s);
    BOOST_TEST_MESSAGE(m.name << ": " << std::chrono::duration<double>(clock::now() - begin).count() << " s");
    check_says(end.out + end.err, {"mpi_do"});
    r.check_nothing_left();
  }
}

// MP-02, MP-38
BOOST_AUTO_TEST_CASE(an_mpi_that_grants_too_few_threads_is_told_apart) {
  const run::variables granting{{"LD_PRELOAD", program("libmpi_single_threaded.so")}};
  for (auto& name : mpi_modes) {
    auto r = mpirun(2, "mpi_work", {name}, granting);
    const auto end = r.end(20s);
    BOOST_TEST(end.state.status != 0);
    check_says(end.err, {"MPI was asked for MPI_THREAD_MULTIPLE, and grants MPI_THREAD_SINGLE"});
    r.check_nothing_left();
  }
  run outside{program("mpi_work"), {"--np", "2"}, granting};
  const auto end = outside.end(20s);
  BOOST_TEST(end.state.status == 3);
  check_says(end.out, {"0 of 2 ranks came", "MPI was asked for MPI_THREAD_MULTIPLE, and grants MPI_THREAD_SINGLE"});
  outside.check_nothing_left();
  run less{program("mpi_work"), {"--what", "functions", "--serialized", "yes"}};
  check_ends_well(less);
  check_functions(less);
}

// MP-14, MP-17, MP-41
BOOST_AUTO_TEST_CASE(a_part_of_a_job_can_be_a_cluster) {
  for (auto& name : mpi_modes) {
    auto r = mpirun(4, "mpi_part", {name});
    const auto end = r.end(20s);
    BOOST_TEST(end.state.status == 0);
    BOOST_TEST(r.value("maps") == "0-1 1-2 2-3");
    BOOST_TEST(r.value("sum") == "3");
    BOOST_TEST(r.value("outside") == "returned 0");
    BOOST_TEST(r.value("users' messages") == "in order");
    r.check_nothing_left();
  }
}

// MP-27
BOOST_AUTO_TEST_CASE(values_that_no_int_can_count_arrive_whole) {
  if (std::getenv("TROUPE_HUGE_VALUES") == nullptr) {
    BOOST_TEST_MESSAGE("takes long, and 14 GB: set TROUPE_HUGE_VALUES to run it");
    return;
  }
  auto r = mpirun(2, "mpi_work", {"--mpi-transport", "--what", "huge"});
  BOOST_TEST(r.end(120s).state.status == 0);
  BOOST_TEST(r.value("2147483664") == "whole");
  BOOST_TEST(r.value("4294967312") == "whole");
  r.check_nothing_left();
}

// MP-36
BOOST_AUTO_TEST_CASE(a_program_that_mixes_mpi_and_calls_prints_the_same_in_each_mode) {
  if (!std::filesystem::exists(program("mpi_mix"))) {
    BOOST_TEST_MESSAGE("the applications are not built");
    return;
  }
  run outside{program("mpi_mix"), {"--mpi", "3", "--coins", "1000003"}};
  const auto expected = outside.end(60s);
  BOOST_TEST(expected.state.status == 0);
  check_says(expected.out,
             {"hello from rank 2 of 3", "the sum of all ranks is 3", "1161 takes the most steps to 1: 181\n", "one before it: 2 0 1\n"});
  for (auto& name : mpi_modes) {
    auto r = mpirun(3, "mpi_mix", {name, "--coins", "1000003"});
    const auto end = r.end(60s);
    BOOST_TEST(end.state.status == 0);
    BOOST_TEST(end.out == expected.out);
    r.check_nothing_left();
  }
}

// Over MPI no process has other TCP sockets than a bare MPI program.
BOOST_AUTO_TEST_CASE(over_mpi_there_are_no_sockets) {
  const auto sockets_of = [](run& r, const std::string& name) {
    std::multiset<std::size_t> out;
    for (auto pid : running(r, name))
      out.insert(tcp_sockets(pid).size());
    std::string text;
    for (auto n : out)
      text += " " + std::to_string(n);
    BOOST_TEST_MESSAGE(name << ":" << text);
    return out;
  };
  auto bare = mpirun(3, "mpi_part", {"--bare"});
  bare.wait_for("ready: yes\n");
  const auto expected = sockets_of(bare, "mpi_part");
  BOOST_TEST(expected.size() == 3u);
  auto r = mpirun(3, "mpi_cluster", {"--mpi-transport", "--what", "wait"});
  r.wait_for("ready: yes\n");
  BOOST_TEST((sockets_of(r, "mpi_cluster") == expected));
  auto over_tcp = mpirun(3, "mpi_cluster", {"--tcp-transport", "--what", "wait"}); // so that the counting can fail
  over_tcp.wait_for("ready: yes\n");
  BOOST_TEST((sockets_of(over_tcp, "mpi_cluster") != expected));
  for (auto one : {&bare, &r, &over_tcp}) {
    one->signal(SIGTERM);
    one->end(20s);
    one->check_nothing_left();
  }
}
