// The measured peak: the chains compute what they should, at every instruction set, and bad times are
// refused.
#include <cmath>
#include <limits>

#include "kernels/table.h"
#include "ops/peak.h"
#include "reference.h"
#include "runtime/features.h"

using namespace chainrule;

TEST_CASE_TEMPLATE("each chain goes its steps: 1 + (first - 1) 0.75^steps", T, float, double) {
  const Isa before = active_isa();
  for (Isa isa : available_isas()) {
    set_active_isa(isa);
    CAPTURE(isa_name(isa));
    const auto& kernel = kernels<T>().peak;
    for (int64_t steps : {0, 1, 2, 7, 20, 1000}) {
      double expected = 0;
      for (int i = 0; i < multiply_add_chains; ++i)
        expected += kernel.lanes * (1 + std::pow(0.75, steps) * i / multiply_add_chains);
      CAPTURE(steps);
      CHECK(kernel.multiply_add(steps) ==
            doctest::Approx(expected).epsilon(8 * std::numeric_limits<T>::epsilon()));
    }
  }
  set_active_isa(before);
}

TEST_CASE("the rate is measured, however short the time") {
  CHECK(multiply_add_rate<float>(0) > 1e6);
  CHECK(multiply_add_rate<double>(0) > 1e6);
  for (double seconds : {-1.0, 60.5, std::nan(""), std::numeric_limits<double>::infinity()})
    CHECK_THROWS_WITH_AS(multiply_add_rate<float>(seconds),
                         doctest::Contains("seconds: give 0 to 60 of them"), std::invalid_argument);
}
