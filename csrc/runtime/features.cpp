#include "runtime/features.h"

#include <cstdlib>
#include <stdexcept>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace chainrule {

namespace {

#if defined(__x86_64__)
// The matrix unit: its registers are large, so a process must ask the kernel for them, once.
bool matrix_unit() {
#if defined(__linux__) && defined(CHAINRULE_HAS_AMX_BF16)
  static const bool granted = [] {
    unsigned a, b, c, d = 0;
    constexpr unsigned amx_bf16 = 1u << 22, amx_tile = 1u << 24;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & amx_bf16) == 0 || (d & amx_tile) == 0) return false;
    constexpr long request_permission = 0x1023, tile_data = 18;
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
  }();
  return granted;
#else
  return false;
#endif
}

bool bfloat16_dot_product() {
#if defined(CHAINRULE_HAS_AVX512_BF16)
  unsigned a = 0, b, c, d;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 5)) != 0;
#else
  return false;
#endif
}
#endif

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
    case Isa::avx512_bf16:
      return processor_has(Isa::avx512) && bfloat16_dot_product();
    case Isa::amx_bf16:
      return processor_has(Isa::avx512_bf16) && matrix_unit();
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
    case Isa::avx512_bf16:
      return "avx512_bf16";
    case Isa::amx_bf16:
      return "amx_bf16";
  }
  return "unknown";
}

std::vector<Isa> available_isas() {
  std::vector<Isa> found;
  for (Isa isa : all_isas)
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
  for (Isa isa : all_isas)
    if (name == isa_name(isa)) return isa;
  throw std::invalid_argument("instruction set '" + name +
                              "' is not known: use baseline, avx2, avx512, avx512_bf16 or amx_bf16");
}

int64_t second_cache_bytes() {
  static const int64_t bytes = [] {
#if defined(_SC_LEVEL2_CACHE_SIZE)
    if (const long known = sysconf(_SC_LEVEL2_CACHE_SIZE); known > 0) return static_cast<int64_t>(known);
#endif
    return int64_t{1} << 20;
  }();
  return bytes;
}

}  // namespace chainrule
