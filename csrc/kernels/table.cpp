#include "kernels/table.h"

#include <iterator>

#include "runtime/features.h"

namespace chainrule {

#define CHAINRULE_DECLARE_FILLERS(isa) \
  namespace isa {                      \
  void fill_elementwise(KernelTable&); \
  void fill_reduce(KernelTable&);      \
  void fill_matmul(KernelTable&);      \
  void fill_conv2d(KernelTable&);      \
  void fill_winograd(KernelTable&);    \
  void fill_pool(KernelTable&);        \
  void fill_normalise(KernelTable&);   \
  void fill_random(KernelTable&);      \
  void fill_softmax(KernelTable&);     \
  void fill_losses(KernelTable&);      \
  void fill_optimise(KernelTable&);    \
  void fill_peak(KernelTable&);        \
  void fill_bfloat16(KernelTable&);    \
  inline void fill(KernelTable& t) {   \
    fill_elementwise(t);               \
    fill_reduce(t);                    \
    fill_matmul(t);                    \
    fill_conv2d(t);                    \
    fill_winograd(t);                  \
    fill_pool(t);                      \
    fill_normalise(t);                 \
    fill_random(t);                    \
    fill_softmax(t);                   \
    fill_losses(t);                    \
    fill_optimise(t);                  \
    fill_peak(t);                      \
    fill_bfloat16(t);                  \
  }                                    \
  }

CHAINRULE_DECLARE_FILLERS(baseline)
#if defined(__x86_64__)
CHAINRULE_DECLARE_FILLERS(avx2)
CHAINRULE_DECLARE_FILLERS(avx512)
#endif
#if defined(CHAINRULE_HAS_AVX512_BF16)
namespace avx512_bf16 {
void fill_bfloat16(KernelTable&);
}
#endif
#if defined(CHAINRULE_HAS_AMX_BF16)
namespace amx_bf16 {
void fill_bfloat16(KernelTable&);
}
#endif

const KernelTable& kernel_table() {
  static const KernelTable* const tables = [] {
    static KernelTable all[std::size(all_isas)];
    auto at = [](Isa isa) -> KernelTable& { return all[static_cast<int>(isa)]; };
    baseline::fill(at(Isa::baseline));
#if defined(__x86_64__)
    avx2::fill(at(Isa::avx2));
    avx512::fill(at(Isa::avx512));
    at(Isa::avx512_bf16) = at(Isa::amx_bf16) = at(Isa::avx512);
#endif
#if defined(CHAINRULE_HAS_AVX512_BF16)
    avx512_bf16::fill_bfloat16(at(Isa::avx512_bf16));
#endif
#if defined(CHAINRULE_HAS_AMX_BF16)
    amx_bf16::fill_bfloat16(at(Isa::amx_bf16));
#endif
    return all;
  }();
  return tables[static_cast<int>(active_isa())];
}

}  // namespace chainrule
