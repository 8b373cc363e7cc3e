#include "runtime/features.h"

#include <cstdlib>
#include <stdexcept>

namespace chainrule {

namespace {

bool processor_has(Isa isa) {
#if defined(__x86_64__)
  // __builtin_cpu_supports also asks the operating system whether it saves the wide registers.
  switch (isa) {
    case Isa::baseline:
      return true;
    case Isa::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Isa::avx512:
      return processor_has(Isa::avx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
  }
  return false;
#else
  return isa == Isa::baseline;
#endif
}

Isa initial_isa() {
  Isa best = available_isas().back();
  const char* cap = std::getenv("CHAINRULE_MAX_ISA");
  if (cap == nullptr || *cap == '\0') return best;
  try {
    const Isa limit = parse_isa(cap);
    return limit < best ? limit : best;
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(std::string("CHAINRULE_MAX_ISA: ") + error.what());
  }
}

Isa& current() {
  static Isa isa = initial_isa();
  return isa;
}

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::baseline:
      return "baseline";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
  }
  return "unknown";
}

std::vector<Isa> available_isas() {
  std::vector<Isa> found;
  for (Isa isa : {Isa::baseline, Isa::avx2, Isa::avx512})
    if (processor_has(isa)) found.push_back(isa);
  return found;
}

Isa active_isa() { return current(); }

void set_active_isa(Isa isa) {
  if (!processor_has(isa))
    throw std::invalid_argument(std::string("set_isa: this processor lacks ") + isa_name(isa));
  current() = isa;
}

Isa parse_isa(const std::string& name) {
  for (Isa isa : {Isa::baseline, Isa::avx2, Isa::avx512})
    if (name == isa_name(isa)) return isa;
  throw std::invalid_argument("instruction set '" + name + "' is not known: use baseline, avx2 or avx512");
}

}  // namespace chainrule
