// Runs the unit tests: says at which instruction set and on how many threads, and fails when no test case
// ran.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <stdexcept>

#include "runtime/features.h"
#include "runtime/threads.h"

#if defined(CHAINRULE_ISA) || defined(__NO_MATH_ERRNO__)
#error "the tests are plain C++: kernel flags would change the references that kernels are compared with"
#endif

namespace {

unsigned test_cases_run = 0;

struct CountTestCases : doctest::IReporter {
  explicit CountTestCases(const doctest::ContextOptions&) {}
  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_run_end(const doctest::TestRunStats&) override {}
  void test_case_start(const doctest::TestCaseData&) override { ++test_cases_run; }
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_end(const doctest::CurrentTestCaseStats&) override {}
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}
  void test_case_skipped(const doctest::TestCaseData&) override {}
};

}  // namespace

DOCTEST_REGISTER_LISTENER("count test cases", 1, CountTestCases);

int main(int argc, char** argv) {
  try {
    std::printf("chainrule: instruction set %s of", chainrule::isa_name(chainrule::active_isa()));
    for (chainrule::Isa isa : chainrule::available_isas()) std::printf(" %s", chainrule::isa_name(isa));
    std::printf(", %d threads\n", chainrule::num_threads());
    std::fflush(stdout);
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "chainrule: %s\n", error.what());
    return 2;
  }
  doctest::Context context(argc, argv);
  int result = context.run();
  if (context.shouldExit()) return result;  // --help, --list-test-cases
  if (test_cases_run == 0) {
    std::fprintf(stderr, "chainrule_tests: no test case ran\n");
    return 1;
  }
  return result;
}
